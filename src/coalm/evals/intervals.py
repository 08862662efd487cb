"""Confidence intervals of a run's figures, and of the difference between two runs.

Percentile bootstrap over samples: the samples are drawn again with replacement, as many as there
are, and every figure is computed from each draw; the middle 95 % of its values are the interval.
Two runs are compared on the same draws of the samples that both have, so that what makes a sample
easy or hard for both cancels out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from coalm.errors import MissingExtraError
from coalm.evals.base import Score, Task, add_up

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
    totals = add_up(scores)
    (drawn,) = _resampled([_Table(task, [*totals], scores)], seed)
    return _with_bounds(task.aggregate(totals), drawn)


def differences(
    task: Task, before: Sequence[Score], after: Sequence[Score], seed: int = 0
) -> dict[str, Interval]:
    """Every figure of `after` less that of `before`; item i of both is the same sample.

    Raises:
        MissingExtraError: numpy is not installed.
    """
    totals = add_up(before), add_up(after)
    pairs = zip(totals, (before, after), strict=True)
    tables = [_Table(task, [*names], scores) for names, scores in pairs]
    old, new = (task.aggregate(sums) for sums in totals)
    return _with_bounds(
        {name: new[name] - old[name] for name in new},
        [
            {name: b[name] - a[name] for name in b}
            for a, b in zip(*_resampled(tables, seed), strict=True)
        ],
    )


class _Table(NamedTuple):
    """The values of the samples of one run: a row per score, `names` over the columns."""

    task: Task
    names: Sequence[str]
    """`samples` first."""
    scores: Sequence[Score]

    def rows(self) -> list[list[float]]:
        return [[1.0, *(s.values.get(n, 0.0) for n in self.names[1:])] for s in self.scores]


def _resampled(tables: Sequence[_Table], seed: int) -> list[list[dict[str, float]]]:
    """The figures of every draw, per table; row i of all tables is the same sample.

    Samples with the same values are drawn together: there are few kinds of them, and the sums of a
    draw follow from how often it has each kind.
    """
    try:
        import numpy as np
    except ImportError as e:
        raise MissingExtraError("numpy", "eval") from e
    values = np.hstack([np.array(table.rows()) for table in tables])
    kinds, counts = np.unique(values, axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(
        len(values), counts / len(values), size=RESAMPLES
    )
    ends = np.cumsum([len(table.names) for table in tables])
    sums = np.split(draws @ kinds, ends[:-1], axis=1)
    return [[*_figures(t, part.tolist())] for t, part in zip(tables, sums, strict=True)]


def _figures(table: _Table, sums: Iterable[Sequence[float]]) -> Iterator[dict[str, float]]:
    """The figures of every draw; where values are right or wrong, many draws are alike."""
    known: dict[tuple[float, ...], dict[str, float]] = {}
    for row in map(tuple, sums):
        if row not in known:
            known[row] = table.task.aggregate(dict(zip(table.names, row, strict=True)))
        yield known[row]


def _with_bounds(
    figures: Mapping[str, float], drawn: Sequence[Mapping[str, float]]
) -> dict[str, Interval]:
    import numpy as np

    bounds = np.percentile([[d[name] for name in figures] for d in drawn], _PERCENTILES, axis=0)
    return {
        name: Interval(value, float(bounds[0][at]), float(bounds[1][at]))
        for at, (name, value) in enumerate(figures.items())
    }
