"""Tools an assistant can call: what the model is told, the function behind it, the checks between.

A `Toolbox` answers every call with a tool message, the bad ones too::

    box.execute(ToolCall(name="BookTable", arguments={"party_size": "four"})).content
    {"error": "BookTable: argument 'party_size' must be an integer, got 'four'"}
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from coalm.errors import ToolError
from coalm.types import Message, ToolCall, ToolSchema


@dataclass(frozen=True)
class Tool:
    """A schema for the model and the function that runs when the model calls it."""

    schema: ToolSchema
    function: Callable[..., JsonValue]
    """Called with the checked arguments by name; raises ToolError to explain a failure."""


class Toolbox:
    """Tools by name; `execute` turns a call into the observation the model reads."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.schema.name in self._tools:
                raise ToolError(f"two tools are named {tool.schema.name!r}; names must differ")
            self._tools[tool.schema.name] = tool

    @property
    def schemas(self) -> tuple[ToolSchema, ...]:
        """What the model is told, in the order in which the tools were given."""
        return tuple(tool.schema for tool in self._tools.values())

    def call(self, name: str, arguments: Mapping[str, JsonValue]) -> JsonValue:
        """Check the arguments and run the tool.

        Raises:
            ToolError: no such tool, arguments that do not fit its schema, or a tool that failed.
        """
        tool = self._tools.get(name)
        if tool is None:
            raise ToolError(f"there is no tool {name!r}; {_known(name, self._tools)}")
        checked = check_arguments(tool.schema, arguments)
        try:
            return tool.function(**checked)
        except ToolError:
            raise
        except Exception as e:  # a tool is foreign code: whatever breaks in it is its failure
            raise ToolError(f"{name} failed: {type(e).__name__}: {e}") from e

    def execute(self, call: ToolCall) -> Message:
        """The tool message that answers `call`; every failure becomes `{"error": ...}`."""
        try:
            content = self._content(call)
        except ToolError as e:
            content = json.dumps({"error": str(e)}, ensure_ascii=False)
        return Message(role="tool", content=content, name=call.name, tool_call_id=call.id)

    def _content(self, call: ToolCall) -> str:
        if call.error is not None:
            raise ToolError(f"the call could not be read: {call.error}")
        result = self.call(call.name, call.arguments)
        if isinstance(result, str):
            return result
        try:
            return json.dumps(result, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as e:
            raise ToolError(f"{call.name} returned something that is not JSON: {e}") from e


def check_arguments(schema: ToolSchema, arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The arguments with their values brought to the schema's types ("2" becomes 2).

    Schemas without a type, or with one that JSON Schema does not know, let every value pass.

    Raises:
        ToolError: an unknown or a missing argument, or a value of another type or not in the enum.
    """
    properties = schema.properties
    for name in arguments:
        if name not in properties:
            raise ToolError(f"{schema.name}: unknown argument {name!r}; {_known(name, properties)}")
    missing = [name for name in schema.required if name not in arguments]
    if missing:
        raise ToolError(f"{schema.name}: missing argument {', '.join(map(repr, missing))}")
    checked: dict[str, JsonValue] = {}
    for name, value in arguments.items():
        try:
            checked[name] = _coerce(value, properties[name])
        except _MismatchError as e:
            raise ToolError(f"{schema.name}: argument {name!r} {e}") from e
    return checked


class _MismatchError(Exception):
    """A value does not fit its schema; the text continues 'argument "x" ...'."""


def _coerce(value: JsonValue, spec: Mapping[str, JsonValue]) -> JsonValue:
    branches = spec.get("anyOf") or spec.get("oneOf")
    if isinstance(branches, list):
        return _first_fit(value, [b for b in branches if isinstance(b, dict)])
    kind = spec.get("type")
    if isinstance(kind, list):
        return _first_fit(value, [{**spec, "type": one} for one in kind])
    if isinstance(kind, str) and kind in _READERS:
        value = _READERS[kind](value)
    if isinstance(value, list) and isinstance(items := spec.get("items"), dict):
        value = [_coerce(item, items) for item in value]
    if isinstance(value, dict) and isinstance(fields := spec.get("properties"), dict):
        value = {k: _coerce_field(v, fields.get(k)) for k, v in value.items()}
    options = spec.get("enum")
    if isinstance(options, list) and value not in options:
        raise _MismatchError(f"must be one of {options!r}, got {value!r}")
    return value


def _coerce_field(value: JsonValue, spec: JsonValue) -> JsonValue:
    return _coerce(value, spec) if isinstance(spec, dict) else value


def _first_fit(value: JsonValue, specs: list[dict[str, JsonValue]]) -> JsonValue:
    reasons: list[str] = []
    # A value that fits a branch as it is must not be bent to an earlier one ("2" stays a string).
    results: list[JsonValue] = []
    for spec in specs:
        try:
            results.append(_coerce(value, spec))
        except _MismatchError as e:
            reasons.append(str(e))
    if not results and specs:
        raise _MismatchError(" or ".join(reasons))
    same = [r for r in results if r == value and type(r) is type(value)]
    return (same or results or [value])[0]


def _integer(value: JsonValue) -> JsonValue:
    if isinstance(value, bool):
        raise _mismatch("an integer", value)
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value.strip()):
        return int(value)
    raise _mismatch("an integer", value)


def _number(value: JsonValue) -> JsonValue:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?", value.strip()):
        return float(value)
    raise _mismatch("a number", value)


def _boolean(value: JsonValue) -> JsonValue:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise _mismatch("true or false", value)


def _string(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise _mismatch("a string", value)


def _array(value: JsonValue) -> JsonValue:
    if isinstance(value, list):
        return value
    raise _mismatch("a list", value)


def _object(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return value
    raise _mismatch("an object", value)


def _null(value: JsonValue) -> JsonValue:
    if value is None:
        return value
    raise _mismatch("null", value)


_READERS: dict[str, Callable[[JsonValue], JsonValue]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "string": _string,
    "array": _array,
    "object": _object,
    "null": _null,
}


def _mismatch(expected: str, value: JsonValue) -> _MismatchError:
    return _MismatchError(f"must be {expected}, got {value!r}")


def _known(name: str, names: Iterable[str]) -> str:
    known = list(names)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known) or 'none'}"
