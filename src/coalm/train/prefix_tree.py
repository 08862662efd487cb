"""Token sequences merged into a prefix tree: what they begin with alike is laid out once.

Four samples, the letters being tokens::

    a b c d e        a b c d e      laid out depth first in one row,
    a b c f                  f      each token at the position that it has in its samples
    a b g                  g
    x y              x y            nothing in common with the others: a second root

A token attends to itself and its ancestors, which are the tokens before it in each of the samples
that it stands for. So its hidden state is the one that it has in any of them alone, and losses and
gradients are theirs, too. Tree Training (arXiv 2511.00413) does this to the runs of an agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.integer]
Run = tuple[int, int]
"""Nodes from the first number up to, and without, the second."""


class Chain(NamedTuple):
    """Nodes that one sequence adds to the tree: a line down to the sequence's end."""

    first: int
    last: int
    """One more than the number of the chain's last node."""
    path: tuple[Run, ...]
    """The nodes from the root to the chain's end, the chain included, in order."""


class Tree(NamedTuple):
    """A forest of token nodes, numbered depth first."""

    token_ids: NDArray[np.int64]
    """[nodes]"""
    positions: NDArray[np.int64]
    """[nodes]: how many ancestors a node has."""
    ends: NDArray[np.int64]
    """[nodes]: one more than the number of the last descendant: node `i` is node `j` or an ancestor
    of it if and only if `i <= j < ends[i]`."""
    chains: tuple[Chain, ...]
    """All nodes, in order."""
    paths: tuple[NDArray[np.int64], ...]
    """Of every sequence, in the order given: the nodes of its tokens."""


def build_tree(sequences: Sequence[Ids], *, share: bool = True) -> Tree:
    """Lay out token sequences depth first.

    Args:
        sequences: token ids of each sample, none empty, all of one type.
        share: merge what is alike at the beginning; else every sequence is a tree of its own, and
            they come in the order given.
    """
    order = depth_first(sequences) if share else list(range(len(sequences)))
    overlaps = shared_prefixes(sequences, order) if share else [0] * len(order)
    size = sum(map(len, sequences)) - sum(overlaps)
    token_ids, positions = np.empty(size, np.int64), np.empty(size, np.int64)
    ends = np.full(size, size, np.int64)
    chains: list[Chain] = []
    paths: dict[int, NDArray[np.int64]] = {}
    runs: list[Run] = []
    first = 0
    for index, shared in zip(order, overlaps, strict=True):
        for start, stop in _leave(runs, shared):
            ends[start:stop] = first  # the path turns off above these nodes: they are complete
        sequence = sequences[index]
        last = first + len(sequence) - shared
        if last > first:
            token_ids[first:last] = sequence[shared:]
            positions[first:last] = np.arange(shared, len(sequence))
            runs.append((first, last))
            chains.append(Chain(first, last, tuple(runs)))
        paths[index] = np.concatenate([np.arange(*run) for run in runs])
        first = last
    in_order = tuple(paths[index] for index in range(len(sequences)))
    return Tree(token_ids, positions, ends, tuple(chains), in_order)


def _leave(runs: list[Run], depth: int) -> list[Run]:
    """Cut a path down to its first `depth` nodes; the nodes that are cut off."""
    left: list[Run] = []
    length = sum(stop - start for start, stop in runs)
    while length > depth:
        start, stop = runs.pop()
        kept = max(0, stop - start - (length - depth))
        left.append((start + kept, stop))
        length -= stop - start - kept
        if kept:
            runs.append((start, start + kept))
    return left


def depth_first(sequences: Sequence[Ids]) -> list[int]:
    """Indices of the sequences, sorted so that those with a common beginning are neighbours.

    The order is that of their bytes, not that of the numbers, which serves as well: equal tokens
    have equal bytes.
    """
    keys = [sequence.tobytes() for sequence in sequences]
    return sorted(range(len(keys)), key=keys.__getitem__)


def shared_prefixes(sequences: Sequence[Ids], order: Sequence[int]) -> list[int]:
    """How many tokens each sequence of `order` begins with like the one before; 0 for the first."""
    shared = [0] * len(order)
    for place in range(1, len(order)):
        before, this = sequences[order[place - 1]], sequences[order[place]]
        length = min(len(before), len(this))
        differing = before[:length] != this[:length]
        shared[place] = int(differing.argmax()) if differing.any() else length
    return shared
