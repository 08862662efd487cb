"""Which samples share an optimizer step, and which of those a forward pass.

The order of samples follows from (seed, epoch) alone, so a resumed run needs only its step number
to go on with exactly the samples that an uninterrupted run would see.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from coalm.train.config import TrainingConfig
from coalm.train.dataset import TrainingSample
from coalm.train.groups import Group, Part, each_alone, find_groups, may_be_drawn
from coalm.train.rows import pack

_POOL = 50
"""Batches that are sorted by length together: enough to save padding, few enough to stay mixed."""


class Order(Protocol):
    """The samples of every forward pass of every step, as a function of the step number."""

    steps_per_epoch: int
    """Optimizer steps that see every sample once."""

    def step(self, number: int) -> list[list[int]]:
        """Sample indices of each pass of step `number`, counted from 0 over all epochs."""
        ...


def training_order(
    training: TrainingConfig, samples: Sequence[TrainingSample], *, seed: int, ranks: int = 1
) -> Order:
    """The order in which `samples` are learned, as `training.batching` has it.

    Args:
        training: how many samples make a step and a pass.
        samples: all that there is to learn.
        seed: of the order.
        ranks: processes that share a step.
    """
    size, accumulation = training.per_device_train_batch_size, training.gradient_accumulation_steps
    if training.batching == "padded":
        return BatchOrder(
            [len(sample.token_ids) for sample in samples],
            batch_size=size,
            accumulation=accumulation * ranks,
            seed=seed,
            group_by_length=training.group_by_length,
        )
    return GroupOrder(
        _groups(training, samples),
        step_samples=size * accumulation * ranks,
        group_samples=training.group_samples,
        row_tokens=training.row_tokens or size * longest(samples),
        seed=seed,
        ranks=ranks,
    )


def validation_order(
    training: TrainingConfig, samples: Sequence[TrainingSample]
) -> list[list[int]]:
    """Sample indices of each pass over `samples`, with as little work as there can be."""
    size = training.per_device_eval_batch_size
    if training.batching == "padded":
        order = sorted(range(len(samples)), key=lambda index: len(samples[index].token_ids))
        return [order[start : start + size] for start in range(0, len(order), size)]
    parts = [
        part
        for group in _groups(training, samples)
        for part in group.neighbours(-(-len(group.members) // training.group_samples))
    ]
    return pack(parts, training.row_tokens or size * longest(samples))


def longest(samples: Sequence[TrainingSample]) -> int:
    """Tokens of the longest sample."""
    return max(len(sample.token_ids) for sample in samples)


def _groups(training: TrainingConfig, samples: Sequence[TrainingSample]) -> list[Group]:
    return find_groups(samples) if training.batching == "tree" else each_alone(samples)


class BatchOrder:
    """Samples in any order, one a row, a fixed number in every pass."""

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        batch_size: int,
        accumulation: int = 1,
        seed: int = 0,
        group_by_length: bool = False,
    ) -> None:
        """Plan over samples of the given token counts.

        Args:
            lengths: tokens of each sample.
            batch_size: samples in a micro-batch.
            accumulation: micro-batches in an optimizer step, of all processes together.
            seed: together with the epoch decides the order.
            group_by_length: put samples of like length together, which saves padding.
        """
        self._lengths = lengths
        self._batch_size = batch_size
        self._accumulation = accumulation
        self._seed = seed
        self._group_by_length = group_by_length
        self._epoch = -1
        self._batches: list[list[int]] = []
        batches = -(-len(lengths) // batch_size)
        self.steps_per_epoch = -(-batches // accumulation)
        """Optimizer steps that see every sample once; the last one may be smaller."""

    def step(self, number: int) -> list[list[int]]:
        """Sample indices of each micro-batch of step `number`, counted from 0 over all epochs."""
        epoch, within = divmod(number, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._plan(epoch)
        start = within * self._accumulation
        return self._batches[start : start + self._accumulation]

    def _plan(self, epoch: int) -> list[list[int]]:
        chance = random.Random(f"{self._seed}/{epoch}")
        order = list(range(len(self._lengths)))
        chance.shuffle(order)
        size = self._batch_size
        if not self._group_by_length:
            return [order[i : i + size] for i in range(0, len(order), size)]
        batches = []
        for i in range(0, len(order), _POOL * size):
            pool = sorted(order[i : i + _POOL * size], key=lambda index: self._lengths[index])
            batches += [pool[j : j + size] for j in range(0, len(pool), size)]
        chance.shuffle(batches)
        return batches


class GroupOrder:
    """Groups of samples in any order, as many in a pass as fit into one row.

    A step takes whole groups, or whole parts of those that are larger than a step should be mixed
    from; so its samples are as many as asked for on average, while an epoch has as many steps as
    it would have without groups.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        step_samples: int,
        group_samples: int,
        row_tokens: int,
        seed: int = 0,
        ranks: int = 1,
    ) -> None:
        """Plan over groups of samples.

        Args:
            groups: samples that begin alike.
            step_samples: samples in an optimizer step, on average.
            group_samples: most samples of one group in one part.
            row_tokens: most tokens of a row, each common beginning counted once; only a single
                sample may be longer.
            seed: together with the epoch decides the order.
            ranks: processes that share a step; the rows of a step are a multiple of it.
        """
        samples = sum(len(group.members) for group in groups)
        self.steps_per_epoch = -(-samples // step_samples)
        self._samples = samples
        # no part is larger than the mean step, so no step is left without one
        size = min(group_samples, samples // self.steps_per_epoch)
        self._counts = [-(-len(group.members) // size) for group in groups]
        self._drawn = [
            count > 1 and may_be_drawn(group, count)
            for group, count in zip(groups, self._counts, strict=True)
        ]
        self._groups = groups
        self._row_tokens = row_tokens
        self._seed = seed
        self._ranks = ranks
        self._epoch = -1
        self._steps: list[list[Part]] = []

    def step(self, number: int) -> list[list[int]]:
        """Sample indices of each row of step `number`; the longest row is the first.

        Row `i` is the pass `i // ranks` of process `i % ranks`: rows of one pass are about equal.
        """
        epoch, within = divmod(number, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._steps = epoch, self._plan(epoch)
        return pack(self._steps[within], self._row_tokens, self._ranks)

    def _plan(self, epoch: int) -> list[list[Part]]:
        chance = random.Random(f"{self._seed}/{epoch}")
        parts: list[Part] = []
        for group, count, drawn in zip(self._groups, self._counts, self._drawn, strict=True):
            parts += group.drawn(count, chance) if drawn else group.neighbours(count)
        chance.shuffle(parts)
        steps: list[list[Part]] = [[] for _ in range(self.steps_per_epoch)]
        before = 0
        for part in parts:
            steps[before * self.steps_per_epoch // self._samples].append(part)
            before += len(part.members)
        return steps
