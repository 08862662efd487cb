"""What samples look like to the model in one forward pass: padded rows, or one row of trees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from coalm.train.dataset import TrainingSample
from coalm.train.prefix_tree import Chain, build_tree


class Batch(NamedTuple):
    """Samples laid out for one forward pass, with the places where a token is to be predicted.

    Every target of every sample stands here by itself, also where samples share the position that
    predicts it: so each counts as often as it does without sharing. The loss needs nothing but
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
    positions: Tensor | None = None
    """int64 [rows, width]: position of each token in its samples; None if it is the column."""
    ends: Tensor | None = None
    """int64 [width]: column `i` is seen from column `j` if and only if `i <= j < ends[i]`; None if
    every column sees all before it."""
    chains: tuple[Chain, ...] = ()
    """The same as `ends`, as lines of columns that see a path of others."""

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


def forest_batch(samples: Sequence[TrainingSample], *, share: bool = True) -> Batch:
    """All samples in one row: what they begin with alike only once, or each by itself.

    Args:
        samples: in any order.
        share: merge common beginnings into prefix trees; else the samples stand one after the
            other, and none sees another.
    """
    tree = build_tree([sample.token_ids.numpy() for sample in samples], share=share)
    # nothing comes before a first token that could predict it
    predicted = [sample.trainable[1:].nonzero().flatten() + 1 for sample in samples]
    columns = [
        torch.from_numpy(path)[places - 1]
        for path, places in zip(tree.paths, predicted, strict=True)
    ]
    targets = [sample.token_ids[places] for sample, places in zip(samples, predicted, strict=True)]
    counts = torch.tensor([len(places) for places in predicted])
    return Batch(
        token_ids=torch.from_numpy(tree.token_ids)[None],
        rows=torch.zeros(int(counts.sum()), dtype=torch.int64),
        columns=torch.cat(columns),
        targets=torch.cat(targets).long(),
        owners=torch.arange(len(samples)).repeat_interleave(counts),
        samples=tuple(samples),
        positions=torch.from_numpy(tree.positions)[None],
        ends=torch.from_numpy(tree.ends),
        chains=tree.chains,
    )


Layout: TypeAlias = Callable[[Sequence[TrainingSample]], Batch]

LAYOUTS: Mapping[str, Layout] = {
    "padded": padded_batch,
    "packed": partial(forest_batch, share=False),
    "tree": forest_batch,
}
"""How samples are laid out, by `training.batching`."""
