"""Calls in Python notation, read while they are written; see `coalm.formats.calls`.

A call is told of with its name as soon as its first argument begins, a text value as it comes, any
other value when it is complete. Nothing is taken back: what is read of a text depends on the text
up to there and the sign behind it, never on what comes later.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from coalm.errors import ParseError
from coalm.formats.calls import NAME
from coalm.formats.reader import Delta
from coalm.formats.text import Scanner, well_formed, write_json

_BEGIN = re.compile(rf"\s*({NAME.pattern})\s*\(\s*(?=\)|{NAME.pattern}\s*=)")
_KEY = re.compile(rf"\s*({NAME.pattern})\s*=\s*(?=\S)")
_AFTER = re.compile(r"\s*([,)])")
_END_OF_WORD = re.compile(r"[,)]")
_PLAIN = {quote: re.compile(rf"[^{quote}\\]+") for quote in "\"'"}
_HEX = re.compile(r"\\(?:x.?|u.{0,3}|U.{0,7})?", re.DOTALL)
"""An escape of which the end may be missing."""


class CallReader:
    """Reads the text of one list of calls."""

    def __init__(self) -> None:
        self._scanner = Scanner("")
        self._step: Callable[[], list[Delta] | None] = self._open
        self._bracketed = False
        self._in_call = False
        self._keys: set[str] = set()
        self._quote = ""
        self._surrogate = ""
        """Half of a character, whose other half may come."""
        self._extent = _Extent()

    def feed(self, text: str) -> Iterator[Delta]:
        """What is certain after a further piece of text."""
        self._scanner.text += text
        # a step that cannot be taken (yet) leaves the position where it is
        while (found := self._step()) is not None:
            yield from found

    def end(self) -> Iterator[Delta]:
        """What could not be read: it belongs to the call that is open, else to the reply."""
        rest = self._scanner.text[self._scanner.position :]
        if self._in_call:
            rest = _json_text(self._surrogate) + rest
            if rest:
                yield Delta("arguments", rest)
        elif rest.strip():
            yield Delta("content", rest.strip())

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._scanner.text, self._scanner.position)
        if found:
            self._scanner.position = found.end()
        return found

    def _open(self) -> list[Delta] | None:
        if self._scanner.at_end():
            return None
        self._bracketed = self._scanner.take("[")
        self._step = self._begin
        return []

    def _begin(self) -> list[Delta] | None:
        if self._bracketed and self._scanner.take("]"):
            self._step = self._nothing
            return []
        found = self._match(_BEGIN)
        if not found:
            return None
        self._in_call, self._keys = True, set()
        self._step = self._key
        return [Delta("call", found.group(1)), Delta("arguments", "{")]

    def _nothing(self) -> None:
        return None

    def _key(self) -> list[Delta] | None:
        if self._scanner.take(")"):
            return self._close()
        start = self._scanner.position
        found = self._match(_KEY)
        if not found:
            return None
        name = found.group(1)
        if name in self._keys:
            self._scanner.position = start
            return None
        before = ", " if self._keys else ""
        self._keys.add(name)
        sign = self._scanner.text[self._scanner.position]
        if sign in _PLAIN:
            self._scanner.position += 1
            self._quote, self._step = sign, self._text
            return [Delta("arguments", f'{before}{write_json(name)}: "')]
        self._extent = _Extent(self._scanner.position)
        self._step = self._value
        return [Delta("arguments", f"{before}{write_json(name)}: ")]

    def _close(self) -> list[Delta]:
        self._in_call = False
        self._step = self._between
        return [Delta("arguments", "}")]

    def _between(self) -> list[Delta] | None:
        if self._scanner.at_end():
            return None
        self._scanner.take(",")
        self._step = self._begin
        return []

    def _text(self) -> list[Delta] | None:
        """A piece of a text value, an escape, or its end."""
        scanner = self._scanner
        if plain := self._match(_PLAIN[self._quote]):
            return self._more(plain.group())
        if scanner.text.startswith(self._quote, scanner.position):
            scanner.position += 1
            self._step = self._after
            return [*self._more("", is_end=True), Delta("arguments", '"')]
        if scanner.position == len(scanner.text) or _HEX.fullmatch(scanner.text, scanner.position):
            return None
        start = scanner.position
        try:
            return self._more(scanner.escape())
        except ParseError:
            scanner.position = start
            return None

    def _more(self, text: str, *, is_end: bool = False) -> list[Delta]:
        text, self._surrogate = self._surrogate + text, ""
        if not is_end and "\ud800" <= text[-1:] <= "\udbff":
            text, self._surrogate = text[:-1], text[-1]
        return [Delta("arguments", _json_text(text))] if text else []

    def _value(self) -> list[Delta] | None:
        scanner = self._scanner
        if not self._extent.is_complete(scanner.text):
            return None
        start = scanner.position
        try:
            value = write_json(scanner.value())
        except ParseError:
            value = ""
        if value and _AFTER.match(scanner.text, scanner.position):
            self._step = self._after
            return [Delta("arguments", value)]
        scanner.position = start
        self._step = self._nothing
        return None

    def _after(self) -> list[Delta] | None:
        found = self._match(_AFTER)
        if not found:
            return None
        if found.group(1) == ")":
            return self._close()
        self._step = self._key
        return []


class _Extent:
    """Where a value that is no text ends; every character is looked at once."""

    def __init__(self, start: int = 0) -> None:
        self._at = start
        self._start = start
        self._depth = 0
        self._quote = ""

    def is_complete(self, text: str) -> bool:
        """Whether the sign behind the value is there."""
        while self._at < len(text):
            sign = text[self._at]
            if self._quote:
                # a backslash keeps the next sign from ending the text
                self._at += sign == "\\"
                if sign == self._quote:
                    self._quote = ""
            elif sign in _PLAIN:
                self._quote = sign
            elif self._depth == 0 and _END_OF_WORD.match(sign):
                return True
            elif sign in "([{":
                self._depth += 1
            elif sign in ")]}":
                self._depth -= 1
            self._at += 1
        return False


def _json_text(text: str) -> str:
    """`text` as it stands between the quotes of JSON."""
    return write_json(well_formed(text))[1:-1]
