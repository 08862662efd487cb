"""Which samples are worth one prefix tree, and how to cut those that are too many for one.

Samples that a record's `meta.group` puts together (the turns of a dialogue, one long instruction)
are a group. Among records that name none, or are the only one of theirs (the first turns of many
dialogues with the same tools), a group is a run in depth-first order in which each sample shares
most of its tokens with the one before it.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coalm.train.dataset import TrainingSample
from coalm.train.prefix_tree import depth_first, shared_prefixes

_MOSTLY = 0.5
"""Share of its tokens that a sample without a group must have in common with its neighbour."""
_PRICE = 1.1
"""How much larger the trees of a shuffled group may be than those of neighbours."""


class Group(NamedTuple):
    """Samples in depth-first order, with what neighbours share. Every array is [samples]."""

    members: NDArray[np.int64]
    """Indices of the samples."""
    lengths: NDArray[np.int64]
    """Tokens of each."""
    overlaps: NDArray[np.int64]
    """Tokens that each begins with like the one before it."""

    def part(self, places: NDArray[np.int64]) -> Part:
        """The samples at `places`, which rise."""
        tokens = int(self.lengths[places].sum())
        if len(places) > 1:  # two samples share what all from the one to the other share
            overlaps = self.overlaps[: places[-1] + 1]
            tokens -= int(np.minimum.reduceat(overlaps, places[:-1] + 1).sum())
        return Part(self, places, tokens)

    def neighbours(self, count: int) -> list[Part]:
        """`count` parts of neighbours, of as equal numbers as can be."""
        return [self.part(part) for part in np.array_split(np.arange(len(self.members)), count)]

    def drawn(self, count: int, chance: random.Random) -> list[Part]:
        """`count` parts drawn at random, of as equal numbers as can be."""
        places = list(range(len(self.members)))
        chance.shuffle(places)
        return [self.part(np.sort(part)) for part in np.array_split(np.asarray(places), count)]


class Part(NamedTuple):
    """Samples of one group for one tree."""

    group: Group
    places: NDArray[np.int64]
    """Where they stand in the group, rising."""
    tokens: int
    """Nodes of their tree."""

    @property
    def members(self) -> list[int]:
        """Indices of the samples, depth first."""
        return self.group.members[self.places].tolist()

    def halves(self) -> list[Part]:
        """The part cut between neighbours; itself if it is one sample."""
        cut = np.array_split(self.places, min(2, len(self.places)))
        return [self.group.part(places) for places in cut]


def find_groups(samples: Sequence[TrainingSample]) -> list[Group]:
    """All samples in groups, in an order that depends on nothing but the samples."""
    named: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        named[sample.labels.source, sample.labels.group].append(index)
    groups = [_group(samples, members) for members in named.values() if len(members) > 1]
    alone = [index for members in named.values() if len(members) == 1 for index in members]
    return [*groups, *_runs(_group(samples, alone))]


def each_alone(samples: Sequence[TrainingSample]) -> list[Group]:
    """Every sample a group of its own."""
    return [_group(samples, [index]) for index in range(len(samples))]


def _group(samples: Sequence[TrainingSample], members: Sequence[int]) -> Group:
    sequences = [samples[index].token_ids.numpy() for index in members]
    order = depth_first(sequences)
    return Group(
        members=np.asarray([members[place] for place in order], np.int64),
        lengths=np.asarray([len(sequences[place]) for place in order], np.int64),
        overlaps=np.asarray(shared_prefixes(sequences, order), np.int64),
    )


def _runs(samples: Group) -> list[Group]:
    if not len(samples.members):
        return []
    starts = np.flatnonzero(samples.overlaps < _MOSTLY * samples.lengths)[1:]
    return [Group(*arrays) for arrays in zip(*(np.split(a, starts) for a in samples), strict=True)]


def may_be_drawn(group: Group, count: int) -> bool:
    """Whether `count` parts of a group may be drawn at random rather than from neighbours.

    Neighbours below one instruction begin alike, so a step would see only requests that begin
    with the same words; drawn parts are mixed. Turns of one dialogue are cheaper as neighbours.
    """
    drawn = sum(part.tokens for part in group.drawn(count, random.Random(0)))
    return drawn <= _PRICE * sum(part.tokens for part in group.neighbours(count))
