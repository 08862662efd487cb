"""Which samples come together, and when."""

from __future__ import annotations

import itertools
import random
from typing import Literal

import pytest
import torch

from coalm.train.batches import forest_batch
from coalm.train.config import TrainingConfig
from coalm.train.dataset import Labels, TrainingSample
from coalm.train.groups import find_groups
from coalm.train.order import BatchOrder, GroupOrder, training_order, validation_order
from coalm.train.rows import pack


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


def sample(token_ids: list[int], group: str = "", source: str = "file") -> TrainingSample:
    name = "-".join(map(str, token_ids))
    learned = torch.tensor([False] + [True] * (len(token_ids) - 1))
    ids = torch.tensor(token_ids, dtype=torch.int32)
    return TrainingSample(Labels(name, source, "LA", group or name), ids, learned)


def dialogue(number: int, turns: int) -> list[TrainingSample]:
    """Turns that repeat all that was said before them, as two other tokens each."""
    said = [number, number]
    return [
        sample([*said, *(t for turn in range(k) for t in (turn, turn)), 99, k], f"d{number}")
        for k in range(turns)
    ]


def instruction(count: int) -> list[TrainingSample]:
    """Short requests below a long instruction."""
    return [sample([*range(200, 240), index % 5, index, 99], "all") for index in range(count)]


def grouped(samples: list[TrainingSample], **options: int) -> GroupOrder:
    settings = {"step_samples": 8, "group_samples": 16, "row_tokens": 200, "seed": 1} | options
    return GroupOrder(find_groups(samples), **settings)


MIXED = [
    *(turn for number in range(9) for turn in dialogue(number + 20, number % 6 + 1)),
    *instruction(30),
]


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("step_samples", [1, 2, 7, 8, 500])
def test_every_epoch_sees_every_sample_once_in_groups(step_samples: int, ranks: int) -> None:
    plan = grouped(MIXED, step_samples=step_samples, ranks=ranks)
    assert plan.steps_per_epoch == -(-len(MIXED) // step_samples)
    for epoch in range(3):
        steps = [plan.step(epoch * plan.steps_per_epoch + s) for s in range(plan.steps_per_epoch)]
        assert sorted(i for step in steps for i in flat(step)) == list(range(len(MIXED)))
        for step in steps:
            assert flat(step)
            assert len(step) % ranks == 0
            assert len(flat(step)) < 2 * max(step_samples, 2)


def test_a_dialogue_stays_together_and_an_instruction_is_mixed() -> None:
    samples = [*dialogue(20, 5), *dialogue(21, 6), *instruction(300)]
    plan = grouped(samples, step_samples=20, group_samples=6)
    seen = [set(flat(plan.step(number))) for number in range(plan.steps_per_epoch)]
    for turns in (set(range(5)), set(range(5, 11))):
        assert any(turns <= step for step in seen)
    requests = [[i for i in step if i >= 11] for step in seen]
    kinds = [{samples[i].token_ids[40].item() for i in step} for step in requests]
    assert min(map(len, kinds)) > 1


def test_the_parts_of_a_long_dialogue_are_neighbours() -> None:
    parts = find_groups(dialogue(20, 40))[0].neighbours(4)
    assert [len(part.members) for part in parts] == [10, 10, 10, 10]
    plan = grouped(dialogue(20, 40), step_samples=10, group_samples=10)
    steps = [set(flat(plan.step(number))) for number in range(4)]
    assert sorted(map(sorted, steps)) == sorted(sorted(part.members) for part in parts)


def test_the_order_of_groups_depends_on_seed_and_epoch_only() -> None:
    first, again = grouped(MIXED), grouped(MIXED)
    last = 2 * first.steps_per_epoch - 1
    later = again.step(last)
    assert [again.step(s) for s in range(last + 1)] == [first.step(s) for s in range(last + 1)]
    assert later == first.step(last)
    assert first.step(0) != first.step(first.steps_per_epoch)
    assert grouped(MIXED, seed=2).step(0) != first.step(0)


def nodes(samples: list[TrainingSample]) -> int:
    return forest_batch(samples).token_ids.numel()


def test_the_tokens_of_a_part_are_those_of_its_tree() -> None:
    chance = random.Random(0)
    samples = [*instruction(20), *dialogue(20, 9)]
    for group in find_groups(samples):
        for count in (1, 2, 3, 5):
            for part in [*group.neighbours(count), *group.drawn(count, chance)]:
                assert part.tokens == nodes([samples[index] for index in part.members])


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("row_tokens", [43, 60, 100, 1000])
def test_rows_hold_what_they_may(row_tokens: int, ranks: int) -> None:
    plan = grouped(MIXED, step_samples=20, row_tokens=row_tokens, ranks=ranks)
    for number in range(plan.steps_per_epoch):
        rows = plan.step(number)
        sizes = [nodes([MIXED[index] for index in row]) for row in rows]
        assert max(sizes) <= row_tokens
        assert ranks == 2 or sum(sizes) > row_tokens / 2 * (len(rows) - 1)
    assert row_tokens < 1000 or len(plan.step(0)) == ranks


def test_a_sample_longer_than_a_row_has_one_for_itself() -> None:
    plan = grouped(instruction(3), row_tokens=20)
    assert sorted(plan.step(0)) == [[0], [1], [2]]


def test_processes_get_about_equal_shares() -> None:
    plan = grouped(MIXED, step_samples=30, row_tokens=400, ranks=2)
    rows = plan.step(0)
    shares = [sum(nodes([MIXED[i] for i in row]) for row in rows[rank::2]) for rank in (0, 1)]
    assert max(shares) < 1.2 * min(shares)


def test_few_samples_leave_a_process_without() -> None:
    assert sorted(map(len, pack(find_groups(instruction(2))[0].neighbours(1), 99, 4))) == [
        *(0, 0, 1, 1)
    ]


def test_groups_of_records_that_name_none() -> None:
    turns = [one._replace(labels=one.labels._replace(group=one.labels.id)) for one in MIXED]
    found = [group.members.tolist() for group in find_groups(turns)]
    assert sorted(flat(found)) == list(range(len(turns)))
    requests = set(range(len(MIXED) - 30, len(MIXED)))
    assert requests in map(set, found)


def test_dialogues_of_one_sample_are_grouped_by_their_tokens() -> None:
    openings = [
        one._replace(labels=one.labels._replace(group=f"d{number}"))
        for number, one in enumerate(instruction(20))
    ]
    found = [set(group.members.tolist()) for group in find_groups([*openings, *dialogue(30, 4)])]
    assert sorted(found, key=min) == [set(range(20)), set(range(20, 24))]


def test_groups_of_one_name_in_two_sources_are_two() -> None:
    samples = [sample([1, 2, 3], "a", "x"), sample([1, 2, 4], "a", "y"), sample([1, 2], "a", "x")]
    assert [group.members.tolist() for group in find_groups(samples)] == [[2, 0], [1]]


@pytest.mark.parametrize("batching", ["padded", "packed", "tree"])
def test_validation_sees_every_sample_once(batching: Literal["padded", "packed", "tree"]) -> None:
    training = TrainingConfig(batching=batching, per_device_eval_batch_size=2)
    rows = validation_order(training, MIXED)
    assert sorted(flat(rows)) == list(range(len(MIXED)))
    assert len(rows) > 1
    order = training_order(training, MIXED, seed=1)
    assert isinstance(order, BatchOrder if batching == "padded" else GroupOrder)
    steps = [flat(order.step(number)) for number in range(order.steps_per_epoch)]
    assert sorted(flat(steps)) == list(range(len(MIXED)))
