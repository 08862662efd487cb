"""Cross entropy at the positions that have a target, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from coalm.train.attention import seen_as_trees
from coalm.train.batches import Batch
from coalm.train.model import TrainedModel

_CHUNK = 64
"""Targets whose loss is computed at the same time, in full precision."""


def target_losses(model: TrainedModel, batch: Batch) -> Tensor:
    """Cross entropy of every target of `batch`, [targets], in float32 or better.

    The output layer sees only the hidden states that predict a target: in CoALM-IT that is a few
    per cent of the positions, so most of the vocabulary-sized work and memory is never spent, and
    the losses are the same numbers.
    """
    seen = seen_as_trees(model, batch)
    with _only_at(batch.rows, batch.columns, of=model):
        logits = model(input_ids=batch.token_ids, use_cache=False, **seen).logits
    return cross_entropies(logits, batch.targets)


def cross_entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy of every target, [targets], from logits [targets, vocabulary].

    The backward pass puts the gradient in place of the logits, so nobody else may need them.
    """
    return cast("Tensor", _CrossEntropy.apply(logits, targets))


class _CrossEntropy(torch.autograd.Function):
    """Cross entropy that needs no memory of the vocabulary's size but the logits as they came.

    Torch's own needs them, their logarithms and their gradients in float32, which for a vocabulary
    of 128,000 is more memory than the rest of a small model's step. Were the logits kept by an
    operation before, or gone through a second time, autograd would say that they have changed.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        losses = [
            nn.functional.cross_entropy(_precise(some), wanted, reduction="none")
            for some, wanted in zip(logits.split(_CHUNK), targets.split(_CHUNK), strict=True)
        ]
        ctx.save_for_backward(logits, targets)
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        logits, targets = ctx.saved_tensors
        parts = (one.split(_CHUNK) for one in (logits, targets, gradients[0]))
        for some, wanted, gradient in zip(*parts, strict=True):
            slope = _precise(some).softmax(-1)
            slope[torch.arange(len(wanted), device=wanted.device), wanted] -= 1.0
            some.copy_(slope.mul_(gradient[:, None]))
        return logits, None


def _precise(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


@contextmanager
def _only_at(rows: Tensor, columns: Tensor, *, of: TrainedModel) -> Iterator[None]:
    # A hook, rather than a call of backbone and head by hand: the model's own forward still runs,
    # with whatever it does around its head (scaling, soft-capping, sharding).
    def choose(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0][rows, columns],)

    head = cast("nn.Module", of.get_output_embeddings())  # every causal language model has one
    handle = head.register_forward_pre_hook(choose)
    try:
        yield
    finally:
        handle.remove()


class SkillTotals:
    """Losses added up by skill, over as many batches as wanted."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, int]] = {}

    def add(self, losses: Tensor, batch: Batch) -> None:
        """Count the target losses of one batch, [targets]."""
        sums = torch.zeros(len(batch.samples), dtype=losses.dtype)
        sums.index_add_(0, batch.owners, losses.detach().cpu())
        counts = torch.bincount(batch.owners, minlength=len(batch.samples)).tolist()
        for sample, loss, count in zip(batch.samples, sums.tolist(), counts, strict=True):
            before, seen = self._sums.get(sample.labels.skill, (0.0, 0))
            self._sums[sample.labels.skill] = (before + loss, seen + count)

    @classmethod
    def merged(cls, parts: Iterable[SkillTotals]) -> SkillTotals:
        """All parts together."""
        merged = cls()
        for part in parts:
            for skill, (loss, count) in part._sums.items():
                before, seen = merged._sums.get(skill, (0.0, 0))
                merged._sums[skill] = (before + loss, seen + count)
        return merged

    @property
    def targets(self) -> int:
        """How many targets were counted."""
        return sum(count for _, count in self._sums.values())

    def mean(self) -> float:
        """Mean over all targets."""
        return sum(loss for loss, _ in self._sums.values()) / self.targets

    def mean_by_skill(self) -> dict[str, float]:
        """Mean over the targets of each skill, skills in alphabetical order."""
        return {skill: loss / count for skill, (loss, count) in sorted(self._sums.items())}
