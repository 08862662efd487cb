"""Keys and values of token sequences, kept within bounds and used again by prompts that share them.

A `Strip` holds the keys and values of one sequence. A running answer writes to its strip; when it
is done the strip stays, as long as there is room, and the next prompt that starts with the same
tokens begins there: a dialogue that goes on takes its old strip over, any other prompt copies what
it shares. To copy a token's keys and values takes a CPU about a hundredth of the time to compute
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

_STEP = 128
"""Strips grow by so many tokens at a time."""


class Strip:
    """Keys and values of one token sequence in every layer, on the layers' own devices."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self.prompt_length = len(prompt)
        """Tokens of it that were asked; the rest was answered."""
        self.ids: list[int] = []
        """Tokens whose keys and values are here."""
        self.capacity = 0
        """Tokens that there is memory for."""
        self._layers: list[tuple[Tensor, Tensor]] = []

    def reserve(self, tokens: int) -> None:
        """Make room for so many tokens; those that are here stay."""
        if tokens > self.capacity:
            self.capacity = tokens
            for layer, (keys, values) in enumerate(self._layers):
                self._layers[layer] = self._moved(keys, values, len(self.ids))

    def copy(self, other: Strip, tokens: int) -> None:
        """Take the first `tokens` of another strip; there must be room for them."""
        self.ids = other.ids[:tokens]
        self._layers = [self._moved(*layer, tokens) for layer in other._layers]

    def restart(self, prompt: Sequence[int], tokens: int) -> None:
        """Go on with another prompt after the first `tokens`, which it shares."""
        self.prompt_length = len(prompt)
        self.ids = self.ids[:tokens]

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys [heads, size, new] and values [heads, new, size]; returns those of all tokens.

        Products with keys that lie like this are the fast ones. `ids` has to follow when all layers
        are written, so that a step that fails leaves no trace.
        """
        if layer == len(self._layers):
            self._layers.append(self._moved(keys, values, 0))
        all_keys, all_values = self._layers[layer]
        before, new = len(self.ids), values.shape[1]
        all_keys.narrow(2, before, new).copy_(keys)
        all_values.narrow(1, before, new).copy_(values)
        return all_keys.narrow(2, 0, before + new), all_values.narrow(1, 0, before + new)

    def _moved(self, keys: Tensor, values: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
        """The first `tokens` of keys and values in memory of this strip's capacity."""
        heads, size, _ = keys.shape
        new_keys = keys.new_empty(heads, size, self.capacity)
        new_values = values.new_empty(heads, self.capacity, values.shape[2])
        new_keys[:, :, :tokens] = keys[:, :, :tokens]
        new_values[:, :tokens] = values[:, :tokens]
        return new_keys, new_values


class _Source(NamedTuple):
    strip: Strip
    shared: int


class StripPool:
    """All strips of an engine: those of running answers, and idle ones that wait for a prompt.

    Together they hold at most `limit` tokens; the idle one that was not used for longest goes
    first. Only a running answer that is alone may take more.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._running: list[Strip] = []
        self._idle: list[Strip] = []

    @property
    def tokens(self) -> int:
        """Tokens that memory is taken for."""
        return _capacity(self._running) + _capacity(self._idle)

    def shared(self, ids: Sequence[int]) -> int:
        """How many of the first tokens of `ids` are at hand."""
        return self._source(ids).shared

    def start(self, ids: Sequence[int]) -> Strip | None:
        """A strip for a prompt, with as much of it as is at hand; None while there is no room.

        The last token is never at hand: what comes after it has to be computed.
        """
        source, shared = self._source(ids)
        idle = source in self._idle
        need = _rounded(len(ids))
        # a dialogue goes on when all that it was asked before is in the prompt
        goes_on = idle and shared >= source.prompt_length
        if not goes_on and self._make_room(need, keep=source):
            strip = Strip(ids)
            strip.reserve(need)
            strip.copy(source, shared)
            if idle:
                self._touch(source)
        elif idle and self._must_fit(need - source.capacity, source):
            self._idle.remove(source)
            strip = source
            strip.restart(ids, shared)
            strip.reserve(need)
        elif not idle and self._must_fit(need, source):
            strip = Strip(ids)
            strip.reserve(need)
        else:
            return None
        self._running.append(strip)
        return strip

    def grow(self, strip: Strip, tokens: int) -> bool:
        """Make room in a running strip; False, and nothing done, when there is none."""
        if tokens <= strip.capacity:
            return True
        more = _rounded(tokens)
        if not self._make_room(more - strip.capacity) and len(self._running) > 1:
            return False
        strip.reserve(more)
        return True

    def finish(self, strip: Strip) -> None:
        """The answer is done, or put off; the strip stays for prompts that go on from there."""
        self._running.remove(strip)
        self._idle.append(strip)
        self._make_room(0)

    def clear(self) -> None:
        """Drop all idle strips."""
        self._idle.clear()

    def _source(self, ids: Sequence[int]) -> _Source:
        most = len(ids) - 1
        found = _Source(Strip(()), 0)
        # idle ones first: among equals, one that can be taken over needs no copy
        for strip in (*reversed(self._idle), *self._running):
            shared = shared_length(strip.ids, ids, found.shared)
            if min(shared, most) > found.shared:
                found = _Source(strip, min(shared, most))
        return found

    def _touch(self, strip: Strip) -> None:
        self._idle.remove(strip)
        self._idle.append(strip)

    def _must_fit(self, tokens: int, keep: Strip) -> bool:
        """As `_make_room`, but what runs alone fits in any case."""
        if self._make_room(tokens, keep):
            return True
        if self._running:
            return False
        self._idle = [strip for strip in self._idle if strip is keep]
        return True

    def _make_room(self, tokens: int, keep: Strip | None = None) -> bool:
        """Drop idle strips, the longest unused first, until so many tokens fit; or drop none."""
        kept = [strip for strip in self._idle if strip is keep]
        if _capacity(self._running) + _capacity(kept) + tokens > self.limit:
            return False
        while self.tokens + tokens > self.limit:
            self._idle.remove(next(strip for strip in self._idle if strip is not keep))
        return True


def shared_length(a: Sequence[int], b: Sequence[int], beyond: int = 0) -> int:
    """Length of the common start of two lists; 0 when it is not longer than `beyond`."""
    most = min(len(a), len(b))
    if most <= beyond or a[: beyond + 1] != b[: beyond + 1]:
        return 0
    same, differs = beyond + 1, most + 1
    while differs - same > 1:  # comparing slices is quick: no loop over tokens in Python
        middle = (same + differs) // 2
        if a[same:middle] == b[same:middle]:
            same = middle
        else:
            differs = middle
    return same


def _capacity(strips: Sequence[Strip]) -> int:
    return sum(strip.capacity for strip in strips)


def _rounded(tokens: int) -> int:
    return -(-(tokens + 1) // _STEP) * _STEP
