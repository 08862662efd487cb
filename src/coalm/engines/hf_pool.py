"""What keys and values are kept, within bounds, and which prompt goes on from which of them.

A running answer has a strip; when it is done the strip stays, as long as there is room, and so do
trunks that nothing grows from any more. The next prompt that starts with the same tokens begins
there: a dialogue that goes on takes its old strip over, any other prompt grows from the trunk. What
it shares of a row becomes a trunk for both, or is copied when it is little. To copy a token's keys
and values takes a CPU about a hundredth of the time to compute them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from coalm.engines.hf_cache import TAIL, Strip, Tails, Trunk, branch_point, rounded

_OWN = TAIL - 64
"""Tokens of a prompt that may lie in its row, where the answer has to fit as well; one with more
gets a trunk of its own."""
_SAME = 0.75
"""Part of an idle strip's own prompt, not its trunk's, from which on a prompt is taken to be the
next of the same dialogue; the rest may be instructions at the end of each."""
_SPLIT = 128
"""Tokens in a row from which on it pays to let others read them there."""


class _Source(NamedTuple):
    kept: Strip | Trunk | None
    shared: int

    @property
    def trunk(self) -> Trunk | None:
        return self.kept.trunk if isinstance(self.kept, Strip) else self.kept

    @property
    def trunk_tokens(self) -> int:
        """How many of the shared tokens are the trunk's."""
        return min(self.shared, self.kept.shared) if isinstance(self.kept, Strip) else self.shared


class StripPool:
    """All keys and values of an engine: those of running answers, and idle ones.

    Together they take memory for at most `limit` tokens. What is not needed goes first where it was
    not used for longest: trunks that no strip grows from, then idle strips. Only a running answer
    that is alone may take more than the limit.
    """

    def __init__(self, limit: int, rows: int) -> None:
        """Nothing is allocated before the first token is computed.

        Args:
            limit: Tokens that memory is taken for at most.
            rows: Strips at once at most, running and idle ones together.
        """
        self.limit = limit
        self._tails = Tails(rows)
        self._rows = [*range(rows)]
        self._running: list[Strip] = []
        self._idle: list[Strip] = []
        self._trunks: list[Trunk] = []

    @property
    def tokens(self) -> int:
        """Tokens that memory is taken for."""
        return _tokens([*self._running, *self._idle], self._trunks)

    def shared(self, ids: Sequence[int]) -> int:
        """How many of the first tokens of `ids` are at hand."""
        return self._source(ids).shared

    def start(self, ids: Sequence[int]) -> Strip | None:
        """A strip for a prompt, with as much of it as is at hand; None while there is no room.

        The last token is never at hand: what comes after it has to be computed.
        """
        source = self._split(self._source(ids))
        rooted = len(ids) - 1 if len(ids) - source.trunk_tokens > _OWN else 0
        strip = self._strip_from(source, rooted)
        if strip is None:
            return None
        strip.prompt_length = len(ids)
        if rooted:
            self._root(strip, rooted)
        elif strip.trunk:
            self._trunks.remove(strip.trunk)
            self._trunks.append(strip.trunk)
        self._running.append(strip)
        return strip

    def _split(self, source: _Source) -> _Source:
        """Make a trunk of what lies in a row so far, when it is long enough to be shared."""
        kept, shared = source
        if not isinstance(kept, Strip) or self._goes_on(source):
            return source
        moved = shared - kept.shared
        if moved < _SPLIT or not self._make_room(rounded(moved), kept):
            return source
        kept.split(shared)
        assert kept.trunk
        self._trunks.append(kept.trunk)
        return _Source(kept.trunk, shared)

    def _goes_on(self, source: _Source) -> bool:
        """Whether a dialogue goes on: most of what it was asked for itself is in the prompt."""
        kept, shared = source
        if not isinstance(kept, Strip) or kept not in self._idle:
            return False
        return shared - kept.shared >= _SAME * (kept.prompt_length - kept.shared)

    def _strip_from(self, source: _Source, rooted: int) -> Strip | None:
        """A strip that holds what is at hand, with room for a trunk up to token `rooted`."""
        kept, shared = source
        idle = kept if isinstance(kept, Strip) and kept in self._idle else None
        more = _trunk_tokens(source.trunk, source.trunk_tokens, 0, rooted)
        if not self._goes_on(source) and self._make_room(TAIL + more, kept, rows=1):
            row = min(self._rows)  # low ones: attention reads all up to the highest
            self._rows.remove(row)
            strip = Strip(row, self._tails)
            if isinstance(kept, Strip):
                strip.copy(kept, shared)
            else:
                strip.grow_from(kept, shared)
            return strip
        more = _trunk_tokens(source.trunk, source.trunk_tokens, 1, rooted)
        if idle and self._make_room(more, idle):
            self._idle.remove(idle)
            idle.cut(shared)
            return idle
        return None

    def grow(self, strip: Strip) -> bool:
        """See that a running strip has room; False, and nothing done, when there is none."""
        if strip.room:
            return True
        tokens = len(strip.ids)
        more = _trunk_tokens(strip.trunk, strip.shared, 1, tokens)
        if not self._make_room(more, strip, alone=len(self._running) == 1):
            return False
        self._root(strip, tokens)
        return True

    def _root(self, strip: Strip, tokens: int) -> None:
        old = strip.trunk
        strip.root(tokens)
        while old and not old.users and old.ids == strip.ids[: len(old.ids)]:
            self._drop(old)  # the new trunk holds all of it
            old = old.parent
        if strip.trunk:
            self._trunks.append(strip.trunk)

    def _drop(self, trunk: Trunk) -> None:
        trunk.leave()
        self._trunks.remove(trunk)

    def finish(self, strip: Strip) -> None:
        """The answer is done, or put off; the strip stays for prompts that go on from there."""
        self._running.remove(strip)
        strip.stop_rooting()
        self._idle.append(strip)
        self._make_room(0)

    def clear(self) -> None:
        """Drop all that is idle."""
        while self._drop_one(None):
            pass
        if not self._running:
            self._tails.clear()

    def _source(self, ids: Sequence[int]) -> _Source:
        most = len(ids) - 1
        found = _Source(None, 0)
        # idle ones first: among equals, one that can be taken over needs no copy
        for kept in (*reversed(self._idle), *self._running, *reversed(self._trunks)):
            shared = shared_length(kept.ids, ids, found.shared)
            if min(shared, most) > found.shared:
                found = _Source(kept, min(shared, most))
        return found

    def _make_room(
        self, tokens: int, keep: Strip | Trunk | None = None, *, rows: int = 0, alone: bool = False
    ) -> bool:
        """Drop what is idle until so many tokens and rows fit; or drop nothing.

        What is `alone`, as anything is while nothing runs, fits in any case.
        """
        strips = [*self._running, *(strip for strip in self._idle if strip is keep)]
        ends = [*(strip.trunk for strip in strips), keep if isinstance(keep, Trunk) else None]
        needed = _tokens(strips, {trunk for end in ends for trunk in _path(end)})
        fits = needed + tokens <= self.limit or alone or not self._running
        if not fits or len(strips) + rows > self._tails.rows:
            return False
        while self.tokens + tokens > self.limit or len(self._rows) < rows:
            if not self._drop_one(keep):
                break
        return True

    def _drop_one(self, keep: Strip | Trunk | None) -> bool:
        for trunk in self._trunks:
            if not trunk.users and trunk is not keep:
                self._drop(trunk)
                return True
        for strip in self._idle:
            if strip is not keep:
                strip.leave()
                self._idle.remove(strip)
                self._rows.append(strip.row)
                return True
        return False


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


def _path(trunk: Trunk | None) -> Iterator[Trunk]:
    while trunk:
        yield trunk
        trunk = trunk.parent


def _trunk_tokens(trunk: Trunk | None, shared: int, users: int, rooted: int) -> int:
    """Tokens that memory is taken for by a new trunk up to token `rooted`."""
    return rounded(rooted - branch_point(trunk, shared, users)[1]) if rooted else 0


def _tokens(strips: Sequence[Strip], trunks: Iterable[Trunk]) -> int:
    return len(strips) * TAIL + sum(trunk.capacity for trunk in trunks)
