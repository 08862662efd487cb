"""Reading and writing literal values in model text, without `eval` and within fixed limits.

Models mix Python and JSON notation freely, so one scanner reads both: `'a'` and `"a"`, `True` and
`true`, `None` and `null`, lists, tuples (read as lists) and objects. Python's own parser is not
used on model text: it warns about escapes, recurses without a limit we choose, and fails on tool
names that hold blanks or dots.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable

from pydantic import JsonValue

from coalm.errors import ParseError

MAX_CHARS = 1_000_000
"""Longer model text is refused: no real call comes near it."""
MAX_DEPTH = 64
"""Deeper nesting is refused, far below Python's recursion limit."""
_MAX_DIGITS = 4000

_SPACE = re.compile(r"\s*")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"[^\W\d]\w*")
_PLAIN = {'"': re.compile(r'[^"\\]*'), "'": re.compile(r"[^'\\]*")}
_CONSTANTS: dict[str, JsonValue] = {
    "True": True,
    "true": True,
    "False": False,
    "false": False,
    "None": None,
    "null": None,
}
_ESCAPES = {
    "n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "a": "\a",
    "0": "\0", "\\": "\\", "'": "'", '"': '"', "/": "/", "\n": "",
}  # fmt: skip
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}


def well_formed(text: str) -> str:
    """`text` with surrogate pairs joined and lone surrogates replaced: always valid UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class Scanner:
    """Reads literal values from `text`, starting at `position`.

    Raises:
        ParseError: from every method, naming the character at which the text went wrong.
    """

    def __init__(self, text: str) -> None:
        if len(text) > MAX_CHARS:
            raise ParseError(f"text of {len(text)} characters is over the limit of {MAX_CHARS}")
        self.text = text
        self.position = 0

    def fail(self, problem: str) -> ParseError:
        """The error to raise for a problem at the current position."""
        near = self.text[self.position : self.position + 20]
        return ParseError(f"{problem} at character {self.position} (near {near!r})")

    def skip_space(self) -> None:
        """Move past white space."""
        match = _SPACE.match(self.text, self.position)
        self.position = match.end() if match else self.position

    def at_end(self) -> bool:
        """Whether only white space is left."""
        self.skip_space()
        return self.position >= len(self.text)

    def take(self, sign: str) -> bool:
        """Move past white space and `sign`, if it comes next."""
        self.skip_space()
        if self.text.startswith(sign, self.position):
            self.position += len(sign)
            return True
        return False

    def expect(self, sign: str) -> None:
        """Move past `sign`, which must come next."""
        if not self.take(sign):
            raise self.fail(f"expected {sign!r}")

    def value(self, depth: int = 0) -> JsonValue:
        """The literal that comes next."""
        if depth > MAX_DEPTH:
            raise self.fail(f"nested deeper than {MAX_DEPTH}")
        self.skip_space()
        sign = self.text[self.position : self.position + 1]
        if sign in ("'", '"'):
            return self._string(sign)
        if sign == "[" or sign == "(":
            return self._sequence("]" if sign == "[" else ")", depth)
        if sign == "{":
            return self._object(depth)
        return self._number() if sign and sign in "+-.0123456789" else self._constant()

    def _constant(self) -> JsonValue:
        match = _WORD.match(self.text, self.position)
        if not match or match.group() not in _CONSTANTS:
            raise self.fail("expected a value")
        self.position = match.end()
        return _CONSTANTS[match.group()]

    def _number(self) -> JsonValue:
        match = _NUMBER.match(self.text, self.position)
        if not match:
            raise self.fail("expected a number")
        digits = match.group()
        if len(digits) > _MAX_DIGITS:
            raise self.fail(f"number of {len(digits)} digits")
        number = float(digits) if any(c in digits for c in ".eE") else int(digits)
        if isinstance(number, float) and not math.isfinite(number):
            raise self.fail("number too large")
        self.position = match.end()
        return number

    def _string(self, quote: str) -> str:
        self.position += 1
        parts: list[str] = []
        while True:
            match = _PLAIN[quote].match(self.text, self.position)
            if match:
                parts.append(match.group())
                self.position = match.end()
            if self.position >= len(self.text):
                raise self.fail("text value without its closing quote")
            if self.text[self.position] == quote:
                self.position += 1
                return well_formed("".join(parts))
            parts.append(self.escape())

    def escape(self) -> str:
        """The character that an escape stands for, and move past it."""
        kind = self.text[self.position + 1 : self.position + 2]
        if kind in _HEX_DIGITS:
            start = self.position + 2
            digits = self.text[start : start + _HEX_DIGITS[kind]]
            if len(digits) < _HEX_DIGITS[kind] or not re.fullmatch(r"[0-9a-fA-F]+", digits):
                raise self.fail(f"bad \\{kind} escape")
            code = int(digits, 16)
            if code > 0x10FFFF:
                raise self.fail("character code out of range")
            self.position = start + len(digits)
            return chr(code)
        self.position += 1 + len(kind)
        # Python keeps the backslash of an escape it does not know, and models rely on it (\d, \s)
        return _ESCAPES.get(kind, "\\" + kind)

    def _sequence(self, close: str, depth: int) -> list[JsonValue]:
        self.position += 1
        items: list[JsonValue] = []
        while not self.take(close):
            items.append(self.value(depth + 1))
            if not self.take(","):
                self.expect(close)
                break
        return items

    def _object(self, depth: int) -> dict[str, JsonValue]:
        self.position += 1
        items: dict[str, JsonValue] = {}
        while not self.take("}"):
            key = self.value(depth + 1)
            if not isinstance(key, str):
                raise self.fail("object keys must be text")
            self.expect(":")
            items[key] = self.value(depth + 1)
            if not self.take(","):
                self.expect("}")
                break
        return items


def read_value(text: str) -> JsonValue:
    """The one JSON or Python literal that `text` holds.

    Raises:
        ParseError: the text is something else, too long or too deep.
    """
    scanner = Scanner(text)
    value = scanner.value()
    if not scanner.at_end():
        raise scanner.fail("text after the value")
    return value


def write_value(value: JsonValue) -> str:
    """`value` as a Python literal with double-quoted text, on one line."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ", ".join(write_value(item) for item in value) + "]"
    if isinstance(value, dict):
        pairs = (f"{write_value(k)}: {write_value(v)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    return repr(value)


def write_json(value: object) -> str:
    """`value` as JSON on one line, characters beyond ASCII left as they are."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def unambiguous(content: str, empty_list: str, reads_as_prose: Callable[[str], bool]) -> str:
    """A reply without calls that is read back as such.

    Prose that happens to end like a call list gets an explicit empty list behind it, and so does an
    empty reply; everything else stays as it is.
    """
    if content and reads_as_prose(content):
        return content
    return f"{content}\n{empty_list}" if content else empty_list
