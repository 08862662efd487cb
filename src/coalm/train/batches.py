"""Which samples share an optimizer step, and what a batch looks like to the model.

The order of samples follows from (seed, epoch) alone, so a resumed run needs only its step number
to go on with exactly the samples that an uninterrupted run would see.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from coalm.train.dataset import TrainingSample

_POOL = 50
"""Batches that are sorted by length together: enough to save padding, few enough to stay mixed."""


class Batch(NamedTuple):
    """Samples laid out for one forward pass, with the places where a token is to be predicted.

    Other layouts (packed rows, prefix trees) add a mask and positions; the loss needs nothing but
    hidden states and `rows`, `columns`, `targets`.
    """

    token_ids: Tensor
    """int64 [rows, width]."""
    rows: Tensor
    """int64 [targets]: row of the position that predicts each target."""
    columns: Tensor
    """int64 [targets]: column of that position, the one before the target's own."""
    targets: Tensor
    """int64 [targets]: the token to predict."""
    owners: Tensor
    """int64 [targets]: index into `samples` of the sample that the target belongs to."""
    samples: tuple[TrainingSample, ...]

    @property
    def tokens(self) -> int:
        """Tokens of all samples, without padding."""
        return sum(len(sample.token_ids) for sample in self.samples)

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on `device`."""
        moved = {
            name: part.to(device)
            for name, part in self._asdict().items()
            if isinstance(part, Tensor)
        }
        return self._replace(**moved)


def padded_batch(samples: Sequence[TrainingSample]) -> Batch:
    """One sample a row, padded on the right to the longest.

    It needs no attention mask: a causal model never looks to the right, and no position of the
    padding has a target. Without one, attention takes its faster path.
    """
    width = max(len(sample.token_ids) for sample in samples)
    token_ids = torch.zeros((len(samples), width), dtype=torch.int64)
    wanted = torch.zeros_like(token_ids, dtype=torch.bool)
    for row, sample in enumerate(samples):
        length = len(sample.token_ids)
        token_ids[row, :length] = sample.token_ids
        wanted[row, :length] = sample.trainable
    rows, columns = wanted[:, 1:].nonzero(as_tuple=True)
    return Batch(
        token_ids=token_ids,
        rows=rows,
        columns=columns,
        targets=token_ids[rows, columns + 1],
        owners=rows,
        samples=tuple(samples),
    )


class BatchOrder:
    """The samples of every micro-batch of every step, as a function of the step number."""

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
            accumulation: micro-batches in an optimizer step.
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
