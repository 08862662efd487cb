from __future__ import annotations

import importlib

import pytest

from coalm.errors import MissingExtraError
from coalm.evals.multiwoz import fuzzy
from coalm.evals.multiwoz.fuzzy import partial_ratio


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("same", "same", 100),
        ("", "", 100),
        ("", "anything", 0),
        ("1", "12", 100),
        ("a", "acorn guest house", 100),
        ("cambridge", "cambridge arts theatre", 100),
        ("cheap", "cheap|moderate", 100),
        ("guesthouse", "guest house", 90),
        ("dont care", "dontcare", 88),
        ("pizza hut fen ditton", "pizza hut fenditton", 95),
        ("abc", "xyz", 0),
        # the evaluator's way; with every position tried it would be 94
        ("curry garden", "yu garden", 89),
    ],
)
def test_the_ratio_is_that_of_the_evaluator(one: str, other: str, ratio: int) -> None:
    assert partial_ratio(one, other) == partial_ratio(other, one) == ratio


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        raise ImportError(name)

    fuzzy._distance.cache_clear()
    monkeypatch.setattr(importlib, "import_module", nothing)
    with pytest.raises(MissingExtraError, match=r"rapidfuzz.*pip install 'coalm\[eval\]'"):
        partial_ratio("something", "else")
    monkeypatch.undo()
    fuzzy._distance.cache_clear()
