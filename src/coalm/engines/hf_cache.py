"""Keys and values of token sequences: beginnings that many share, and an end for each.

A `Trunk` holds the beginning of a sequence, or what follows on another trunk. It is computed once,
kept once, and read by all the answers that grow from it, by attention too: once for all of them.
What is a sequence's own, the end of its prompt and its answer, lies in a row of `Tails`, one block
of memory, so that one product serves the next tokens of all answers. A `Strip` is both together.
`hf_pool` decides what is kept and who shares what.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

TAIL = 384
"""Tokens in a row of `Tails`. What outgrows it becomes a trunk."""
_STEP = 64
"""Trunks take memory for a multiple of so many tokens."""


def rounded(tokens: int) -> int:
    """So many tokens, or the few more that a trunk takes memory for, and that may be read in it."""
    return -(-tokens // _STEP) * _STEP


class Trunk:
    """Keys and values of a token sequence in every layer, on the layers' own devices.

    Those of the first `start` tokens lie in `parent`, and in its parents.
    """

    def __init__(self, capacity: int, parent: Trunk | None = None, start: int = 0) -> None:
        self.ids: list[int] = parent.ids[:start] if parent else []
        """Tokens of the whole sequence that are computed; there may be more to come."""
        self.parent = parent
        self.start = start
        self.capacity = rounded(capacity)
        """Tokens that there is memory for here."""
        self.users = 0
        """Strips that end in it, and trunks that follow on it."""
        if parent:
            parent.users += 1
        self._layers: list[tuple[Tensor, Tensor]] = []

    @property
    def layers(self) -> int:
        """Layers that were written."""
        return len(self._layers)

    @torch.inference_mode()
    def write(self, layer: int, start: int, keys: Tensor, values: Tensor) -> None:
        """Keep keys and values [heads, new, size] of tokens from the one at `start` here on.

        `ids` has to follow when all layers are written, so that a step that fails leaves no trace.
        """
        if layer == len(self._layers):
            self._layers.append((self._room(keys), self._room(values)))
        for kept, new in zip(self._layers[layer], (keys, values), strict=True):
            kept.narrow(1, start, new.shape[1]).copy_(new)

    def read(self, layer: int, tokens: int) -> tuple[Tensor, Tensor]:
        """Keys and values [heads, tokens, size] of the first tokens here."""
        keys, values = self._layers[layer]
        return keys.narrow(1, 0, tokens), values.narrow(1, 0, tokens)

    def leave(self) -> None:
        """It is dropped: it does not use its parent any more."""
        if self.parent:
            self.parent.users -= 1

    def _room(self, like: Tensor) -> Tensor:
        # zeros, since what is beyond the tokens may be read: it has to be a number
        return like.new_zeros(len(like), self.capacity, like.shape[2])


class Tails:
    """Keys and values of the ends of sequences: rows of one block of memory in every layer."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._layers: list[tuple[Tensor, Tensor]] = []

    @property
    def layers(self) -> int:
        """Layers that were written."""
        return len(self._layers)

    def clear(self) -> None:
        """Give the memory back."""
        self._layers.clear()

    @torch.inference_mode()
    def write(self, layer: int, row: int, start: int, keys: Tensor, values: Tensor) -> None:
        """Keep keys and values [heads, new, size] in one row from column `start` on."""
        for kept, new in zip(self._of(layer, keys, values), (keys, values), strict=True):
            kept[row].narrow(1, start, new.shape[1]).copy_(new)

    def write_each(
        self, layer: int, rows: Tensor, columns: Tensor, keys: Tensor, values: Tensor
    ) -> None:
        """Keep keys and values [rows, heads, size] of one token in each of some rows."""
        kept = self._of(layer, keys.transpose(0, 1), values.transpose(0, 1))
        for block, new in zip(kept, (keys, values), strict=True):
            block[rows, :, columns] = new

    def read(self, layer: int, row: int, tokens: int) -> tuple[Tensor, Tensor]:
        """Keys and values [heads, tokens, size] of one row."""
        keys, values = self._layers[layer]
        return keys[row].narrow(1, 0, tokens), values[row].narrow(1, 0, tokens)

    def read_first(self, layer: int, rows: int, tokens: int) -> tuple[Tensor, Tensor]:
        """Keys and values [rows, heads, tokens, size]: the beginning of the first rows."""
        keys, values = self._layers[layer]
        return keys[:rows].narrow(2, 0, tokens), values[:rows].narrow(2, 0, tokens)

    def _of(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if layer == len(self._layers):
            self._layers.append((_block(keys, self.rows), _block(values, self.rows)))
        return self._layers[layer]


class Strip:
    """One sequence: the first `shared` tokens are its trunk's, the others lie in its row."""

    def __init__(self, row: int, tails: Tails) -> None:
        self.ids: list[int] = []
        """Tokens whose keys and values are here."""
        self.trunk: Trunk | None = None
        self.shared = 0
        self.row = row
        self.tails = tails
        self.prompt_length = 0
        """Tokens of it that were asked; the rest was answered."""

    @property
    def is_rooting(self) -> bool:
        """Whether its trunk has yet to be computed, by this strip."""
        return len(self.ids) < self.shared

    @property
    def room(self) -> int:
        """Tokens that can be written next, all into its trunk or all into its row."""
        return (self.shared if self.is_rooting else self.shared + TAIL) - len(self.ids)

    @property
    def own(self) -> int:
        """Tokens in its row."""
        return len(self.ids) - self.shared

    @property
    def parts(self) -> list[tuple[Trunk, int]]:
        """The trunks that it goes through, the first one first, and its tokens in each."""
        found: list[tuple[Trunk, int]] = []
        trunk, end = self.trunk, self.shared
        while trunk:
            found.append((trunk, end - trunk.start))
            trunk, end = trunk.parent, trunk.start
        return found[::-1]

    def grow_from(self, trunk: Trunk | None, shared: int) -> None:
        """Take the first `shared` tokens from a trunk, and hold nothing else."""
        while trunk and shared <= trunk.start:
            trunk = trunk.parent
        if trunk:
            trunk.users += 1
        self.leave()
        self.trunk, self.shared = trunk, shared
        self.ids = trunk.ids[:shared] if trunk else []

    def leave(self) -> None:
        """Hold nothing any more."""
        if self.trunk:
            self.trunk.users -= 1
        self.trunk, self.shared, self.ids = None, 0, []

    def cut(self, tokens: int) -> None:
        """Hold the first `tokens` only."""
        if tokens < self.shared:
            self.grow_from(self.trunk, tokens)
        self.ids = self.ids[:tokens]

    def copy(self, other: Strip, tokens: int) -> None:
        """Hold the first `tokens` of another strip: by its trunk, the others as a copy."""
        self.grow_from(other.trunk, min(tokens, other.shared))
        own = tokens - self.shared
        for layer in range(self.tails.layers if own else 0):
            self.tails.write(layer, self.row, 0, *self.tails.read(layer, other.row, own))
        self.ids = other.ids[:tokens]

    def root(self, tokens: int) -> None:
        """Get a trunk of its own, up to token `tokens`: those that are not here come later."""
        parent, start = branch_point(self.trunk, self.shared, users=1)
        trunk = Trunk(tokens - start, parent, start)
        layers = self.trunk.layers if self.trunk else self.tails.layers
        for layer in range(layers if len(self.ids) > start else 0):
            keys, values = self.read(layer, len(self.ids))
            trunk.write(layer, 0, keys[:, start:], values[:, start:])
        trunk.ids = self.ids
        self.grow_from(trunk, tokens)

    def split(self, tokens: int) -> None:
        """Move the first of what lies in its row, up to token `tokens`, to a trunk for others."""
        trunk = Trunk(tokens - self.shared, self.trunk, self.shared)
        moved = tokens - self.shared
        for layer in range(self.tails.layers):
            keys, values = (part.clone() for part in self.tails.read(layer, self.row, self.own))
            trunk.write(layer, 0, keys[:, :moved], values[:, :moved])
            self.tails.write(layer, self.row, 0, keys[:, moved:], values[:, moved:])
        ids, trunk.ids = self.ids, self.ids[:tokens]
        self.grow_from(trunk, tokens)
        self.ids = ids

    def stop_rooting(self) -> None:
        """Its trunk will not be computed any further."""
        self.cut(len(self.ids))

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Keep keys and values [heads, new, size] of its next tokens, at most `room`."""
        if self.trunk and self.is_rooting:
            self.trunk.write(layer, len(self.ids) - self.trunk.start, keys, values)
        else:
            self.tails.write(layer, self.row, self.own, keys, values)

    def read(self, layer: int, tokens: int) -> tuple[Tensor, Tensor]:
        """Keys and values [heads, tokens, size] of its first tokens, also of those just written."""
        parts = [
            trunk.read(layer, min(here, tokens - trunk.start))
            for trunk, here in self.parts
            if tokens > trunk.start
        ]
        if tokens > self.shared:
            parts.append(self.tails.read(layer, self.row, tokens - self.shared))
        if len(parts) == 1:
            return parts[0]
        keys, values = zip(*parts, strict=True)
        return torch.cat(keys, 1), torch.cat(values, 1)

    def extend(self, ids: Sequence[int]) -> None:
        """All layers are written: the tokens are here."""
        if self.trunk and self.is_rooting:
            self.trunk.ids += ids
        self.ids += ids


def branch_point(trunk: Trunk | None, shared: int, users: int) -> tuple[Trunk | None, int]:
    """Where a new trunk of a sequence follows on another, and behind how many tokens.

    That is the last trunk that holds more than what the sequence shares of it, or has more than
    `users`; those after it are the sequence's own past, and the new trunk takes their place.
    """
    while trunk and trunk.users <= users and len(trunk.ids) <= shared:
        trunk, shared, users = trunk.parent, trunk.start, 1
    return trunk, shared


def _block(like: Tensor, rows: int) -> Tensor:
    """Zeros [rows, heads, TAIL, size]: what is beyond a row's end is read, and weighs nothing."""
    shape = (rows, like.shape[0], TAIL, like.shape[2])
    if like.device.type != "cpu":
        return like.new_zeros(shape)
    # main memory that the system gives as zeros: rows take none of it before they are written
    blank = np.zeros(math.prod(shape) * like.element_size(), dtype=np.uint8)
    return torch.from_numpy(blank).view(like.dtype).view(shape)
