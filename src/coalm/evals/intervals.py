"""Confidence intervals of a run's figures, and of the difference between two runs.

Percentile bootstrap over samples: the samples are drawn again with replacement, as many as there
are, and every figure is computed from each draw; the middle 95 % of its values are the interval.
Two runs are compared on the same draws of the samples that both have, so that what makes a sample
easy or hard for both cancels out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from coalm.errors import MissingExtraError
from coalm.evals.base import Score, Task, add_up

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 2000
_PERCENTILES = (2.5, 97.5)


class Interval(NamedTuple):
    """A figure and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference is beyond what the choice of samples explains."""
        return self.low > 0 or self.high < 0


def intervals(task: Task, scores: Sequence[Score], seed: int = 0) -> dict[str, Interval]:
    """Every figure of `scores` with its interval.

    Raises:
        MissingExtraError: numpy is not installed.
    """
    draws = _draws(len(scores), seed)
    return _with_bounds(task.aggregate(add_up(scores)), _resampled(task, scores, draws))


def differences(
    task: Task, before: Sequence[Score], after: Sequence[Score], seed: int = 0
) -> dict[str, Interval]:
    """Every figure of `after` less that of `before`; item i of both is the same sample.

    Raises:
        MissingExtraError: numpy is not installed.
    """
    draws = _draws(len(before), seed)
    old, new = task.aggregate(add_up(before)), task.aggregate(add_up(after))
    drawn = zip(_resampled(task, before, draws), _resampled(task, after, draws), strict=True)
    return _with_bounds(
        {name: new[name] - old[name] for name in new},
        [{name: b[name] - a[name] for name in b} for a, b in drawn],
    )


def _draws(samples: int, seed: int) -> NDArray[np.int64]:
    """How often each sample is in each draw, draws x samples."""
    try:
        import numpy as np
    except ImportError as e:
        raise MissingExtraError("numpy", "eval") from e
    chances = np.full(samples, 1 / samples)
    return np.random.default_rng(seed).multinomial(samples, chances, size=RESAMPLES)


def _resampled(
    task: Task, scores: Sequence[Score], draws: NDArray[np.int64]
) -> list[dict[str, float]]:
    """The figures of every draw, from sums of the values: one matrix product for all of them."""
    import numpy as np

    names = list(add_up(scores))
    values = np.array([[1.0, *(s.values.get(n, 0.0) for n in names[1:])] for s in scores])
    return [task.aggregate(dict(zip(names, row, strict=True))) for row in (draws @ values).tolist()]


def _with_bounds(
    figures: Mapping[str, float], drawn: Sequence[Mapping[str, float]]
) -> dict[str, Interval]:
    import numpy as np

    bounds = np.percentile([[d[name] for name in figures] for d in drawn], _PERCENTILES, axis=0)
    return {
        name: Interval(value, float(bounds[0][at]), float(bounds[1][at]))
        for at, (name, value) in enumerate(figures.items())
    }
