from __future__ import annotations

from collections import Counter

import pytest

from coalm.evals.base import Sample, Score, add_up, subset
from coalm.types import Conversation


def samples(**sizes: int) -> list[Sample]:
    return [
        Sample(
            id=f"{group}-{at}", groups=(group, "all"), conversation=Conversation(id="x"), target=""
        )
        for group, size in sizes.items()
        for at in range(size)
    ]


@pytest.mark.parametrize(
    ("sizes", "limit", "counts"),
    [
        ({"l1": 399, "l2": 127}, 100, {"l1": 76, "l2": 24}),
        ({"l1": 399, "l2": 127}, 1, {"l1": 1}),
        ({"l1": 399, "l2": 1}, 10, {"l1": 9, "l2": 1}),
        ({"a": 5, "b": 5, "c": 5}, 4, {"a": 2, "b": 1, "c": 1}),
        ({"a": 3, "b": 4}, 7, {"a": 3, "b": 4}),
        ({"a": 3, "b": 4}, 99, {"a": 3, "b": 4}),
        ({"a": 3, "b": 4}, None, {"a": 3, "b": 4}),
    ],
)
def test_a_limit_takes_from_every_group_in_proportion(
    sizes: dict[str, int], limit: int | None, counts: dict[str, int]
) -> None:
    chosen = subset(samples(**sizes), limit, seed=0)
    assert Counter(sample.groups[0] for sample in chosen) == counts


def test_the_seed_decides_what_a_limit_takes() -> None:
    everything = samples(l1=50, l2=20)
    first, again, other = (subset(everything, 10, seed) for seed in (0, 0, 1))
    assert first == again != other


def test_a_limit_keeps_the_order() -> None:
    everything = samples(l1=50, l2=20)
    chosen = subset(everything, 20, seed=3)
    assert chosen == [sample for sample in everything if sample in chosen]
    assert len({sample.id for sample in chosen}) == 20


def test_values_add_up() -> None:
    scores = [
        Score(values={"a": 1, "b": 0.5}, verdict="x"),
        Score(values={"a": 2, "b": 0.25}, verdict="y"),
    ]
    assert add_up(scores) == {"samples": 2, "a": 3, "b": 0.75}
    assert add_up([]) == {"samples": 0}
