"""From JavaScript source text to the value it stands for, as the official checker reads it.

Rules: `bfcl-eval` 2025.6.8, `type_convertor/js_type_converter.py`. Text that does not fit the
pattern of its type stays text. Commas split elements even inside quotes, and an object ends at the
first `}`, so nested objects are cut: that is upstream's reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from coalm.evals.bfcl.java_values import MAX_CHARS, read_number
from coalm.evals.bfcl.verdict import Value

JAVASCRIPT_TYPES: dict[str, type] = {
    "String": str,
    "integer": int,
    "float": float,
    "Bigint": int,
    "Boolean": bool,
    "dict": dict,
    "array": list,
    "any": str,
}
"""Type word of a function doc to the Python type of its values."""

_INTEGER = re.compile(r"-?\d+$")
_FLOAT = re.compile(r"-?\d+(\.\d+)?$")
_BIGINT = re.compile(r"-?\d+n$")
_ARRAY = re.compile(r"\[(.*?)\]|new\s+Array\((.*?)\)")
_ROW = re.compile(r"\[(.*?)\]")
_ROWS_START = re.compile(r"\[\s*\[|new\s+Array\(\s*\[")
_ROW_END = re.compile(r"\]\s*")
_NEXT_ROW = re.compile(r",\s*\[")
_OBJECT = re.compile(r"\{(.*?)\}")
_PAIR = re.compile(r"([^:]+):\s*(.*?)(?:,\s*(?=[^,]+:)|$)")


def read_javascript_value(text: str, kind: str, item: str | None = None) -> Value:
    """Value of the source `text` of a parameter of type `kind`; text when it does not fit."""
    if len(text) > MAX_CHARS:
        return text
    match kind:
        case "String":
            return text[1:-1] if _is_quoted(text) else text
        case "integer" if _INTEGER.match(text):
            return int(text)
        case "float" if _FLOAT.match(text):
            return float(text)
        case "Bigint" if _BIGINT.match(text):
            return int(text.rstrip("\n")[:-1])
        case "Boolean" if text in ("true", "false"):
            return text == "true"
        case "array":
            return _read_array(text.strip(), item)
        case "dict":
            return _read_object(text.strip())
        case _:
            return text


def _is_quoted(text: str) -> bool:
    return any(text.startswith(quote) and text.endswith(quote) for quote in "\"'")


def _read_array(text: str, item: str | None) -> list[Value] | str:
    if (rows := _rows(text)) is not None:
        return rows
    found = _ARRAY.match(text)
    if found is None:
        return text
    body = (found[1] if found[1] is not None else found[2]).strip()
    elements = [part.strip() for part in body.split(",")] if body else []
    if item is None:
        return [_guess(part) for part in elements]
    return [read_javascript_value(part, item) for part in elements]


def _rows(text: str) -> list[Value] | None:
    """Rows of an array of arrays; None when it is none."""
    start = _ROWS_START.match(text)
    end = _end_of_rows(text, start.end(), "]" if text[0] == "[" else ")") if start else None
    if end is None:
        return None
    rows = [row.strip() for row in _ROW.findall(text[:end])]
    rows[0] = rows[0].removeprefix("[")
    return [[_guess(part.strip()) for part in row.split(",")] for row in rows]


def _end_of_rows(text: str, start: int, close: str) -> int | None:
    """Where an array of arrays ends whose first row starts at `start`; None when it does not.

    A row may hold any text of one line, so short rows are tried before long ones; a place that
    leads nowhere is visited once, which upstream's pattern does not do.
    """
    seen: set[int] = set()
    open_rows = [_row_ends(text, start)]
    while open_rows:
        at = next(open_rows[-1], None)
        if at is None:
            open_rows.pop()
        elif at not in seen:
            seen.add(at)
            if text.startswith(close, at):
                return at + 1
            if following := _NEXT_ROW.match(text, at):
                open_rows.append(_row_ends(text, following.end()))
    return None


def _row_ends(text: str, start: int) -> Iterator[int]:
    """Places behind each `]` of this line, and behind the blanks that follow it."""
    newline = text.find("\n", start)
    for bracket in _ROW_END.finditer(text, start):
        if 0 <= newline < bracket.start():
            return
        yield bracket.end()


def _read_object(text: str) -> dict[str, Value] | str:
    if text == "{}":
        return {}
    found = _OBJECT.match(text)
    if found is None:
        return text
    return {
        key.strip().strip("'\""): _read_member(value.strip())
        for key, value in _PAIR.findall(found[1])
    }


def _read_member(text: str) -> Value:
    if text.startswith("[") and text.endswith("]"):
        return _read_array(text, None)
    return _guess(text.strip("'\"").strip())


def _guess(text: str) -> Value:
    """Value of text whose type nobody says: true, quoted text, a number, or the text itself."""
    if text in ("true", "false"):
        return text == "true"
    return text[1:-1] if _is_quoted(text) else read_number(text)
