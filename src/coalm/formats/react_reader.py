"""ReAct answers, read while they are written; see `coalm.formats.react`.

A line is held back as long as it can become a label. White space goes on once something follows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from coalm.formats.call_reader import CallReader
from coalm.formats.reader import Delta
from coalm.formats.text import well_formed

LABELS = ("Thought", "Action", "Observation", "System", "User")

_ANY = "|".join(LABELS)
_LABEL = re.compile(rf"({_ANY})(?: \d+)?:")
_GUARDED = re.compile(rf"\\+(?:{_ANY})(?: \d+)?:")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_NUMBERED = re.compile(rf"(?:{_ANY})(?: \d*)?")


class ReactReader:
    """Reads the text of one answer."""

    def __init__(self, *, calls: bool = True) -> None:
        """A reader of one answer.

        Args:
            calls: Whether there are calls; otherwise what stands for one is a reply.
        """
        self._calls = calls
        self._label = ""
        """Of the part that is read; empty before the first one."""
        self._line = ""
        """The beginning of a line that may become a label."""
        self._in_line = False
        """Whether the line is known to be none."""
        self._space: str = ""
        self._has_words = False
        """Whether the part has any, so that white space counts."""
        self._said = {"thought": 0, "content": 0}
        self._action = CallReader()

    def feed(self, text: str) -> Iterator[Delta]:
        """See `Reader.feed`."""
        for found in _LINE.finditer(well_formed(text)):
            piece = found.group()
            if not self._in_line:
                self._line += piece
                if _may_become_label(self._line):
                    continue
                piece, self._line = self._line, ""
                if label := _LABEL.match(piece):
                    yield from self._end_part()
                    yield from self._begin_part(label.group(1))
                    piece = piece[label.end() :]
                elif self._has_words and _GUARDED.match(piece):
                    piece = piece[1:]
            self._in_line = not piece.endswith("\n")
            yield from self._read(piece)

    def end(self) -> Iterator[Delta]:
        """See `Reader.end`."""
        yield from self._read(self._line)
        yield from self._end_part()

    def _begin_part(self, label: str) -> Iterator[Delta]:
        if self._label not in ("Observation", "User"):
            # those are the other side's words: what follows them is not the model's to say
            self._label = label
        self._space, self._has_words = "", False
        if self._label == "Action" and self._calls:
            self._action = CallReader()
        elif kind := self._kind():
            yield from self._join(kind)

    def _end_part(self) -> Iterator[Delta]:
        if self._label == "Action" and self._calls:
            for delta in self._action.end():
                if delta.kind == "content":
                    yield from self._join("content")
                yield delta

    def _kind(self) -> str:
        if self._label in ("Observation", "User"):
            return ""
        return "thought" if self._label == "Thought" else "content"

    def _join(self, kind: str) -> Iterator[Delta]:
        if self._said[kind]:
            yield _delta(kind, "\n")
        self._said[kind] += 1

    def _read(self, text: str) -> Iterator[Delta]:
        """More of the part."""
        text = self._space + text
        words = text.rstrip()
        self._space = text[len(words) :]
        if not self._has_words:
            words = words.lstrip()
        if not words:
            return
        if not self._has_words and not self._label:
            self._said["content"] += 1
        self._has_words = True
        if self._label == "Action" and self._calls:
            yield from self._action.feed(words)
        elif kind := self._kind():
            yield _delta(kind, words)


def _delta(kind: str, text: str) -> Delta:
    return Delta("thought" if kind == "thought" else "content", text)


def _may_become_label(line: str) -> bool:
    bare = line.lstrip("\\")
    return any(label.startswith(bare) for label in LABELS) or bool(_NUMBERED.fullmatch(bare))
