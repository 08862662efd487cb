"""From Java source text to the value it stands for, as the official checker reads it.

Rules: `bfcl-eval` 2025.6.8, `type_convertor/java_type_converter.py`. Text that does not fit the
pattern of its type stays text; commas split elements even inside quotes. Patterns that upstream
leaves to backtracking are followed step by step here, so that no text can keep the scorer busy.
"""

from __future__ import annotations

import re

from coalm.evals.bfcl.verdict import Value

JAVA_TYPES: dict[str, type] = {
    "byte": int,
    "short": int,
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": bool,
    "char": str,
    "String": str,
    "any": str,
    "Array": list,
    "ArrayList": list,
    "HashMap": dict,
}
"""Type word of a function doc to the Python type of its values."""
MAX_CHARS = 4000
"""Longer text is never a collection; the longest of the published outputs has 959 characters."""

_INTEGER = re.compile(r"-?\d+$")
_LONG = re.compile(r"-?\d+[lL]$")
_DOUBLE = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?$")
_FLOAT = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?[fF]$")
_AS_LIST = re.compile(r"new\s+ArrayList<\w*>\(Arrays\.asList\((.+?)\)\)")
_LIST_BODY = re.compile(r"new\s+ArrayList<\w*>\(\)\s*\{\{")
_EMPTY_LIST = re.compile(r"new\s+ArrayList<\w*>\(\)")
_ADD = re.compile(r"add\((.+?)\)")
_ARRAY = re.compile(r"new\s+\w+\[\]\s*\{(.*?)\}")
_NEW_MAP = re.compile(r"new\s+HashMap<")
_MAP_BODY = re.compile(r">\s*\(\)\s*\{\s*\{?\s*")
_EMPTY_MAP = re.compile(r"new\s+HashMap<.*?>\s*\(\)")
_BLANKS = re.compile(r"\s*")


def read_java_value(text: str, kind: str, item: str | None = None) -> Value:
    """Value of the source `text` of a parameter of type `kind`; text when it does not fit."""
    if len(text) > MAX_CHARS:
        return text
    match kind:
        case "byte" | "short" | "integer" if _INTEGER.match(text):
            return int(text)
        case "long" if _LONG.match(text):
            return int(text.rstrip("\n")[:-1])
        case "float" if _FLOAT.match(text):
            return float(text.rstrip("\n")[:-1])
        case "double" if _DOUBLE.match(text):
            return float(text)
        case "boolean" if text in ("true", "false"):
            return text == "true"
        case "Array":
            return _read_array(text, item)
        case "ArrayList":
            return _read_list(text, item)
        case "HashMap":
            return _read_map(text)
        case _:
            return text


def _read_array(text: str, item: str | None) -> list[Value] | str:
    found = _ARRAY.search(text)
    if found is None:
        return text
    elements = [part.strip() for part in found[1].split(",")]
    return [_read_element(part, item) for part in elements if part]


def _read_list(text: str, item: str | None) -> list[Value] | str:
    if found := _AS_LIST.search(text):
        elements = [part.strip() for part in found[1].split(",")]
    elif (body := _list_body(text)) is not None:
        elements = [part.strip() for part in _ADD.findall(body)]
    elif _EMPTY_LIST.search(text):
        return []
    else:
        return text
    if item in ("char", "String"):
        return [part[1:-1] for part in elements]
    return [_read_element(part, item) for part in elements]


def _list_body(text: str) -> str | None:
    """What stands between the double braces of an initializer."""
    found = _LIST_BODY.search(text)
    if found is None:
        return None
    end = text.find("}}", found.end() + 1)
    return None if end < 0 else text[found.end() : end]


def _read_element(text: str, item: str | None) -> Value:
    return read_java_value(text, item) if item else guess_value(text)


def _read_map(text: str) -> dict[str, Value] | str:
    start = _NEW_MAP.search(text)
    opening = _MAP_BODY.search(text, start.end()) if start else None
    end = text.find("}", opening.end()) if opening else -1
    if opening is not None and end >= 0:
        return _read_puts(text[opening.end() : end].rstrip())
    return {} if _EMPTY_MAP.search(text) else text


def _read_puts(body: str) -> dict[str, Value]:
    """Keys and values of the `put("key", value)` in the body of an initializer."""
    values: dict[str, Value] = {}
    at = body.find('put("')
    while at >= 0:
        end = at + 1
        key_start = at + len('put("')
        quote = body.find('",', key_start)
        while quote >= 0 and "\n" not in body[key_start:quote]:
            blanks = _BLANKS.match(body, quote + 2)
            value_start = blanks.end() if blanks else quote + 2
            close = body.find(")", value_start)
            if close >= 0 and "\n" not in body[value_start:close]:
                values[body[key_start:quote]] = guess_value(body[value_start:close].strip())
                end = close + 1
                break
            quote = body.find('",', quote + 1)
        at = body.find('put("', end)
    return values


def guess_value(text: str) -> Value:
    """Value of text whose type nobody says: true, quoted text, 5L, 2.5f, a number, or the text."""
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"') and text.endswith('"'):
        return text[1:-1]
    if _LONG.match(text):
        return int(text[:-1])
    if _FLOAT.match(text):
        return float(text[:-1])
    return read_number(text)


def read_number(text: str) -> Value:
    """An integer, else a float, else the text itself."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text
