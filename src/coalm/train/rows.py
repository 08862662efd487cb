"""Parts of groups packed into rows of about equal length."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from coalm.train.groups import Part


def pack(parts: Sequence[Part], row_tokens: int, ranks: int = 1) -> list[list[int]]:
    """Sample indices of each row, the longest row first.

    Args:
        parts: what belongs into one row each, if it fits.
        row_tokens: most tokens of a row; only a single sample may be longer.
        ranks: the rows are a multiple of it. Some are empty only if the samples are fewer.
    """
    fitting = [small for part in parts for small in _cut(part, row_tokens)]
    wanted = -(-sum(part.tokens for part in fitting) // row_tokens)
    count = min(wanted, len(fitting))
    while True:
        count = -(-count // ranks) * ranks
        fitting = _at_least(count, fitting)
        rows = _balance(fitting, count)
        if count >= len(fitting) or sum(part.tokens for part in rows[0]) <= row_tokens:
            return [[index for part in row for index in part.members] for row in rows]
        count += 1


def _cut(part: Part, row_tokens: int) -> list[Part]:
    if part.tokens <= row_tokens or len(part.places) == 1:
        return [part]
    return [small for half in part.halves() for small in _cut(half, row_tokens)]


def _at_least(count: int, parts: list[Part]) -> list[Part]:
    """Halve the largest parts until there are as many as rows."""
    while len(parts) < count:
        largest = max(parts, key=lambda part: (len(part.places) > 1, part.tokens))
        if len(largest.places) == 1:
            break
        parts = [part for part in parts if part is not largest] + largest.halves()
    return parts


def _balance(parts: Sequence[Part], count: int) -> list[list[Part]]:
    """Every part, the largest first, into the row that has the fewest tokens by then."""
    rows: list[list[Part]] = [[] for _ in range(count)]
    loads = [(0, row) for row in range(count)]
    for part in sorted(parts, key=lambda part: part.tokens, reverse=True):
        load, row = heapq.heappop(loads)
        rows[row].append(part)
        heapq.heappush(loads, (load + part.tokens, row))
    return [rows[row] for _, row in sorted(loads, key=lambda load: (-load[0], load[1]))]
