"""Types as data sets write them (`str`, `List[int], optional`, `dict`) as JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

_NAMES = {
    **dict.fromkeys(("str", "string", "text", "date", "datetime"), "string"),
    **dict.fromkeys(("int", "integer", "long"), "integer"),
    **dict.fromkeys(("float", "double", "number"), "number"),
    **dict.fromkeys(("bool", "boolean"), "boolean"),
    **dict.fromkeys(("list", "array", "set", "tuple", "sequence", "iterable"), "array"),
    **dict.fromkeys(("dict", "object", "map", "mapping"), "object"),
    **dict.fromkeys(("none", "null"), "null"),
}
_GENERIC = re.compile(r"(\w+)\s*\[(.*)\]", re.DOTALL)


def python_type(text: str) -> dict[str, JsonValue]:
    """`List[int]` as `{"type": "array", "items": {"type": "integer"}}`; empty when unknown."""
    text = text.strip().removesuffix("optional").strip(" ,")
    generic = _GENERIC.fullmatch(text)
    if not generic:
        kind = _NAMES.get(text.lower())
        return {"type": kind} if kind else {}
    head, inner = generic.group(1).lower(), list(_parts(generic.group(2)))
    if head in ("union", "optional"):
        branches = [python_type(part) for part in inner]
        return branches[0] if len(branches) == 1 else {"anyOf": list[JsonValue](branches)}
    kind = _NAMES.get(head)
    if kind != "array":
        return {"type": kind} if kind else {}
    items = [python_type(part) for part in inner if part != "..."]
    same = items and all(item == items[0] for item in items) and items[0]
    return {"type": "array", "items": items[0]} if same else {"type": "array"}


def is_optional(text: str) -> bool:
    """Whether a type says that the parameter may be left out: `str, optional`, `Optional[str]`."""
    return text.strip().endswith("optional") or text.strip().startswith("Optional[")


def _parts(text: str) -> Iterator[str]:
    """`int, Dict[str, int]` cut at the commas outside of brackets."""
    depth, start = 0, 0
    for at, sign in enumerate(text):
        depth += (sign == "[") - (sign == "]")
        if sign == "," and depth == 0:
            yield text[start:at].strip()
            start = at + 1
    yield text[start:].strip()


def json_schema(spec: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """A JSON Schema with Python's type names (`"type": "dict"`) as a proper one, at every depth."""
    found = dict(spec)
    kind = found.get("type")
    if isinstance(kind, str):
        del found["type"]
        found = {**python_type(kind), **found}
    if isinstance(items := found.get("items"), dict):
        found["items"] = json_schema(items)
    if isinstance(properties := found.get("properties"), dict):
        found["properties"] = {
            name: json_schema(inner) if isinstance(inner, dict) else {}
            for name, inner in properties.items()
        }
    if not isinstance(found.get("required", []), list):
        del found["required"]
    return found
