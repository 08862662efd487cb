"""Layout of padded batches, and the order in which samples come."""

from __future__ import annotations

import itertools

import pytest
import torch

from coalm.train.batches import BatchOrder, padded_batch
from coalm.train.dataset import Labels, TrainingSample


def sample(token_ids: list[int], trainable: list[bool]) -> TrainingSample:
    return TrainingSample(
        Labels("a", "file", "LA", "a"), torch.tensor(token_ids), torch.tensor(trainable)
    )


def test_padded_batch_predicts_each_target_from_the_position_before_it() -> None:
    batch = padded_batch([sample([7, 8, 9], [False, True, True]), sample([5, 6], [False, True])])
    assert batch.token_ids.tolist() == [[7, 8, 9], [5, 6, 0]]
    assert batch.tokens == 5
    places = list(zip(batch.rows.tolist(), batch.columns.tolist(), strict=True))
    assert places == [(0, 0), (0, 1), (1, 0)]
    assert batch.targets.tolist() == [8, 9, 6]
    assert batch.owners.tolist() == [0, 0, 1]


def order(count: int = 10, **options: int | bool) -> BatchOrder:
    return BatchOrder([100 - i for i in range(count)], **{"batch_size": 3, "seed": 1} | options)


def flat(batches: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(batches))


@pytest.mark.parametrize("by_length", [False, True])
@pytest.mark.parametrize(("count", "accumulation", "steps"), [(10, 1, 4), (10, 3, 2), (2, 4, 1)])
def test_every_epoch_sees_every_sample_once(
    count: int, accumulation: int, steps: int, by_length: bool
) -> None:
    plan = order(count, accumulation=accumulation, group_by_length=by_length)
    assert plan.steps_per_epoch == steps
    for epoch in range(3):
        seen = [i for s in range(steps) for i in flat(plan.step(epoch * steps + s))]
        assert sorted(seen) == list(range(count))


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    first, again = order(), order()
    later = again.step(7)  # asking for a late step first changes nothing
    assert [again.step(s) for s in range(8)] == [first.step(s) for s in range(8)]
    assert later == first.step(7)
    assert first.step(0) != first.step(first.steps_per_epoch)
    assert order(seed=2).step(0) != first.step(0)


def test_a_step_has_as_many_batches_as_are_accumulated() -> None:
    plan = order(10, accumulation=3)
    assert [len(batch) for batch in plan.step(0)] == [3, 3, 3]
    assert [len(batch) for batch in plan.step(1)] == [1]


def test_grouping_by_length_puts_neighbours_together() -> None:
    plan = order(9, group_by_length=True)
    batches = [plan.step(s)[0] for s in range(3)]
    assert sorted(map(sorted, batches)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
