from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Mapping
from typing import Any, cast

import pytest

from coalm.errors import MissingExtraError
from coalm.evals.base import Score, Task
from coalm.evals.intervals import Interval, differences, intervals


class Share:
    """The part of a task that intervals need: a mean and a ratio of sums."""

    def aggregate(self, totals: Mapping[str, float]) -> dict[str, float]:
        right, wanted = totals.get("right", 0.0), totals.get("wanted", 0.0)
        return {"mean": right / totals["samples"], "ratio": right / wanted if wanted else 0.0}


TASK = cast("Task", Share())


def scores(*right: float, wanted: float = 2.0) -> list[Score]:
    return [Score(values={"right": r, "wanted": wanted}, verdict="") for r in right]


def test_equal_samples_have_no_spread() -> None:
    found = intervals(TASK, scores(1, 1, 1))
    assert found == {"mean": Interval(1, 1, 1), "ratio": Interval(0.5, 0.5, 0.5)}


def test_an_interval_has_the_width_that_theory_gives() -> None:
    draw = random.Random(0)
    sample = [draw.gauss(50, 10) for _ in range(400)]
    found = intervals(TASK, scores(*sample))["mean"]
    half = 1.96 * statistics.stdev(sample) / 20
    assert found.value == pytest.approx(statistics.mean(sample))
    assert found.low == pytest.approx(found.value - half, abs=0.15)
    assert found.high == pytest.approx(found.value + half, abs=0.15)


def test_the_seed_makes_intervals_repeatable() -> None:
    sample = scores(*range(50))
    assert intervals(TASK, sample) == intervals(TASK, sample)
    assert intervals(TASK, sample) != intervals(TASK, sample, seed=1)


def test_differences_are_paired() -> None:
    draw = random.Random(0)
    before = [draw.gauss(50, 30) for _ in range(100)]
    after = [value + 1 for value in before]
    found = differences(TASK, scores(*before), scores(*after))["mean"]
    # one better everywhere: certain, however much the samples differ from each other
    assert found == pytest.approx((1, 1, 1))
    assert found.excludes_zero
    backwards = differences(TASK, scores(*after), scores(*before))["mean"]
    assert backwards == pytest.approx((-1, -1, -1))


def test_a_difference_by_chance_does_not_exclude_zero() -> None:
    found = differences(TASK, scores(0, 1, 0, 1, 1), scores(1, 0, 0, 1, 1))["mean"]
    assert found.value == 0
    assert not found.excludes_zero


def test_one_sample_is_enough() -> None:
    assert intervals(TASK, scores(1))["mean"] == Interval(1, 1, 1)


def test_a_value_that_only_some_samples_have() -> None:
    mixed: list[Any] = [*scores(1), Score(values={"wanted": 2.0}, verdict="")]
    assert intervals(TASK, mixed)["mean"].value == 0.5


def test_without_numpy_the_install_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(MissingExtraError, match=r"numpy is not installed.*coalm\[eval\]"):
        intervals(TASK, scores(1))
