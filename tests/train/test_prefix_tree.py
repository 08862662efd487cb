"""Prefix trees over token sequences: every sequence is there, and nothing twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coalm.train.prefix_tree import Tree, build_tree

# few tokens, so that common beginnings, equal sequences and prefixes of others come up often
SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=10)


def tree_of(*texts: str, share: bool = True) -> Tree:
    sequences = [np.frombuffer(text.encode(), np.uint8) for text in texts]
    return build_tree(sequences, share=share)


def text_of(tree: Tree) -> str:
    return bytes(tree.token_ids.tolist()).decode()


def test_the_example_of_the_module() -> None:
    tree = tree_of("abg", "xy", "abcde", "abcf")
    assert text_of(tree) == "abcdefgxy"
    assert tree.positions.tolist() == [0, 1, 2, 3, 4, 3, 2, 0, 1]
    assert tree.ends.tolist() == [7, 7, 6, 5, 5, 6, 7, 9, 9]
    assert [path.tolist() for path in tree.paths] == [
        *([0, 1, 6], [7, 8], [0, 1, 2, 3, 4], [0, 1, 2, 5]),
    ]
    assert tree.chains == (
        (0, 5, ((0, 5),)),
        (5, 6, ((0, 3), (5, 6))),
        (6, 7, ((0, 2), (6, 7))),
        (7, 9, ((7, 9),)),
    )


def test_without_sharing_every_sequence_stands_by_itself() -> None:
    tree = tree_of("ab", "abc", "ab", share=False)
    assert text_of(tree) == "ababcab"
    assert tree.ends.tolist() == [2, 2, 5, 5, 5, 7, 7]
    assert tree.positions.tolist() == [0, 1, 0, 1, 2, 0, 1]


@pytest.mark.parametrize("share", [True, False])
@settings(max_examples=200, deadline=None)
@given(sequences=SEQUENCES)
def test_every_sequence_is_a_path(share: bool, sequences: list[list[int]]) -> None:
    tree = build_tree([np.asarray(sequence, np.int32) for sequence in sequences], share=share)
    for sequence, path in zip(sequences, tree.paths, strict=True):
        assert tree.token_ids[path].tolist() == sequence
        assert tree.positions[path].tolist() == list(range(len(sequence)))
        seen = [node for node in range(path[-1] + 1) if path[-1] < tree.ends[node]]
        assert seen == path.tolist()
    prefixes = {tuple(one[: end + 1]) for one in sequences for end in range(len(one))}
    every = sum(map(len, sequences))
    assert len(tree.token_ids) == (len(prefixes) if share else every)


@settings(max_examples=100, deadline=None)
@given(sequences=SEQUENCES)
def test_chains_are_the_nodes_in_order_and_end_their_paths(sequences: list[list[int]]) -> None:
    tree = build_tree([np.asarray(sequence, np.int32) for sequence in sequences])
    assert [chain.first for chain in tree.chains] == [
        0,
        *(chain.last for chain in tree.chains[:-1]),
    ]
    assert tree.chains[-1].last == len(tree.token_ids)
    for chain in tree.chains:
        path = [node for run in chain.path for node in range(*run)]
        assert path[chain.first - chain.last :] == list(range(chain.first, chain.last))
        last = chain.last - 1
        assert path == [node for node in range(last + 1) if last < tree.ends[node]]
