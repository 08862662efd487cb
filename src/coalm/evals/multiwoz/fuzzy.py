"""How much of one text is found in another, 0 to 100, as the standard evaluator measures it.

The evaluator calls `partial_ratio` of fuzzywuzzy 0.18 on python-Levenshtein, which today is
RapidFuzz's code: the shorter text is laid along the longer one wherever an edit script aligns a
common block, and the best overlap counts. RapidFuzz's own `partial_ratio` tries every position and
finds more, which flips the verdict on about one dialogue in a thousand, so it is not used here.
"""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

from coalm.errors import MissingExtraError

_WHOLE = 0.995
"""From here on an overlap counts as complete."""


@cache
def partial_ratio(one: str, other: str) -> int:
    """The best overlap of the shorter text with a part of the longer one of the same length.

    Raises:
        MissingExtraError: rapidfuzz is not installed.
    """
    if one == other:
        return 100
    if not one or not other:
        return 0
    short, long = (one, other) if len(one) <= len(other) else (other, one)
    distance = _distance()
    blocks = distance.Levenshtein.editops(short, long).as_matching_blocks()
    starts = {max(0, block.b - block.a) for block in blocks}
    overlap = distance.Indel.normalized_similarity
    best = max(overlap(short, long[start : start + len(short)]) for start in starts)
    return 100 if best > _WHOLE else round(100 * best)


@cache
def _distance() -> ModuleType:
    try:
        return importlib.import_module("rapidfuzz.distance")
    except ImportError as e:
        raise MissingExtraError("rapidfuzz", "eval") from e
