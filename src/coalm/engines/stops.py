"""Stop texts: where an answer ends although the model would go on."""

from __future__ import annotations

from collections.abc import Sequence


def find_stop(text: str, stop: Sequence[str]) -> int | None:
    """Index at which the first of the `stop` texts begins in `text`; None when there is none."""
    found = [at for at in map(text.find, stop) if at >= 0]
    return min(found, default=None)


def settled(text: str, stop: Sequence[str]) -> int:
    """How many characters of `text` no stop text can take away, whatever comes behind them."""
    longest = max(map(len, stop), default=0)
    for start in range(max(0, len(text) - longest + 1), len(text)):
        tail = text[start:]
        if any(one.startswith(tail) for one in stop):
            return start
    return len(text)
