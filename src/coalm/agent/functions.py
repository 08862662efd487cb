"""Tools out of plain Python functions: signature, type hints and docstring make the schema.

::

    def find_trains(start: str, end: str, day: Literal["today", "tomorrow"] = "today") -> list[str]:
        \"\"\"Trains between two towns.\"\"\"

    toolbox = Toolbox([tool_from_function(find_trains)])

Everything that pydantic can validate can be a type: enums, dataclasses, models, lists of them. The
function gets such objects, the model sees their JSON Schema.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial, wraps
from pathlib import Path
from typing import Any, NamedTuple, cast

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import ArgsKwargs, PydanticSerializationError, to_jsonable_python

from coalm.errors import ToolError
from coalm.tools import Tool
from coalm.types import ToolSchema

TIMEOUT = 60.0
"""Seconds that a call of a function may take, if nothing else is said."""

_SECTION = re.compile(
    r"^(Args|Arguments|Parameters|Returns|Return|Yields|Raises|Examples?|Notes?|Attributes):\s*$",
    re.MULTILINE,
)
_ARGUMENT = re.compile(r"^(\*{0,2}\w+)\s*(?:\([^)]*\))?:\s*(.*)$")


def tool_from_function(
    function: Callable[..., object], *, name: str | None = None, timeout: float | None = TIMEOUT
) -> Tool:
    """The tool that calls `function`, which may be a coroutine function or a bound method.

    Args:
        function: Takes named arguments. Its docstring, in Google's style, describes it and them.
        name: What the model calls it; None is the function's own name.
        timeout: Seconds until a call counts as failed; None calls it in the caller's thread, see
            `Tool`.

    Raises:
        ToolError: a parameter cannot be given by name, or has a type that JSON cannot say.
    """
    name = name or str(getattr(function, "__name__", type(function).__name__))
    _check_parameters(name, function)

    @wraps(_with_hints(function))
    def collect(**arguments: object) -> dict[str, object]:
        return arguments

    vars(collect)["__signature__"] = inspect.signature(function)
    try:
        reader = TypeAdapter[dict[str, object]](cast("Any", collect))
        parameters = plain_schema(reader.json_schema())
    except (PydanticUserError, NameError, TypeError) as e:
        reason = str(e).strip().partition("\n")[0]
        raise ToolError(f"function {name} cannot be a tool: {reason}") from e
    purpose, meanings = _read_docstring(inspect.getdoc(function) or "")
    properties = cast("dict[str, dict[str, JsonValue]]", parameters.get("properties", {}))
    for argument, spec in properties.items():
        if argument in meanings:
            spec.setdefault("description", meanings[argument])
    schema = ToolSchema(name=name, description=purpose, parameters=parameters)
    return Tool(schema, _validated(name, function, reader), timeout)


def tools_from_file(path: Path, *, timeout: float | None = TIMEOUT) -> tuple[Tool, ...]:
    """Tools out of a Python file, which is run: its public functions, or what `__all__` names.

    Functions that the file imports are left out unless `__all__` names them.

    Raises:
        ToolError: the file cannot be run, holds no such function, or one that cannot be a tool.
    """
    spec = importlib.util.spec_from_file_location(f"coalm_tools_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ToolError(f"{path}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where type hints and dataclasses look names up
    try:
        spec.loader.exec_module(module)
    except Exception as e:
        raise ToolError(f"{path}: cannot be run: {type(e).__name__}: {e}") from e
    listed = getattr(module, "__all__", None)
    names = listed if listed is not None else [n for n in vars(module) if not n.startswith("_")]
    functions = [getattr(module, name, None) for name in names]
    own = [
        function
        for function in functions
        if inspect.isfunction(function) and (listed or function.__module__ == spec.name)
    ]
    if not own:
        raise ToolError(f"{path}: holds no public function that could be a tool")
    return tuple(tool_from_function(function, timeout=timeout) for function in own)


def _check_parameters(name: str, function: Callable[..., object]) -> None:
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ToolError(
                f"function {name} cannot be a tool: a model gives arguments by name, and its "
                f"parameter '{parameter}' cannot be given so"
            )


def _with_hints(function: Callable[..., object]) -> Callable[..., object]:
    """The function itself, where pydantic looks for type hints."""
    while isinstance(function, partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__


def _validated(
    name: str, function: Callable[..., object], reader: TypeAdapter[dict[str, object]]
) -> Callable[..., object]:
    """`function` behind pydantic: takes JSON values, gives JSON values."""

    def read(arguments: Mapping[str, JsonValue]) -> dict[str, object]:
        try:
            return reader.validate_python(ArgsKwargs((), dict(arguments)))
        except ValidationError as e:
            problem = e.errors(include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise ToolError(f"{name}: argument {where!r}: {problem['msg']}") from e

    if inspect.iscoroutinefunction(function):

        async def arun(**arguments: JsonValue) -> object:
            return _as_json(name, await function(**read(arguments)))

        return arun

    def run(**arguments: JsonValue) -> object:
        return _as_json(name, function(**read(arguments)))

    return run


def _as_json(name: str, result: object) -> object:
    try:
        return to_jsonable_python(result)
    except (PydanticSerializationError, ValueError) as e:
        raise ToolError(f"{name} returned something that is not JSON: {e}") from e


def plain_schema(schema: Mapping[str, Any]) -> dict[str, JsonValue]:
    """A JSON Schema without references and titles, a value or null as one type list.

    Small models read the types of the prompt, not the machinery of JSON Schema. A type that holds
    itself ends in a plain object.
    """
    return _Plain(schema.get("$defs", {})).schema(schema, frozenset())


class _Plain:
    def __init__(self, definitions: Mapping[str, Mapping[str, Any]]) -> None:
        self._definitions = definitions

    def schema(self, found: Mapping[str, Any], inside: frozenset[str]) -> dict[str, JsonValue]:
        if "$ref" in found:
            name = str(found["$ref"]).rpartition("/")[2]
            beside = {k: v for k, v in found.items() if k != "$ref"}
            if name in inside or name not in self._definitions:
                return {"type": "object", **beside}
            return self.schema({**self._definitions[name], **beside}, inside | {name})
        plain: dict[str, JsonValue] = {}
        for key, value in found.items():
            if key == "properties":
                plain[key] = {k: self.schema(v, inside) for k, v in value.items()}
            elif key in ("anyOf", "oneOf", "allOf", "prefixItems"):
                plain[key] = [self.schema(one, inside) for one in value]
            elif key in ("items", "additionalProperties") and isinstance(value, dict):
                plain[key] = self.schema(value, inside)
            elif key == "const":
                plain["enum"] = [value]
            elif key not in ("title", "$defs", "$schema"):
                plain[key] = value
        return _merged_union(plain)


def _merged_union(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """`anyOf` a type and null as one type list; other unions as they are."""
    branches = cast("list[dict[str, JsonValue]]", schema.get("anyOf", []))
    others = [branch for branch in branches if branch != {"type": "null"}]
    if len(others) != 1 or len(branches) != 2 or not isinstance(others[0].get("type"), str):
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    merged = {**others[0], **rest, "type": [others[0]["type"], "null"]}
    if isinstance(options := merged.get("enum"), list):
        merged["enum"] = [*options, None]
    return merged


class _Docstring(NamedTuple):
    purpose: str
    """Everything before the first section, in one line."""
    meanings: dict[str, str]
    """Argument to what is said about it."""


def _read_docstring(doc: str) -> _Docstring:
    purpose, *sections = _SECTION.split(doc)
    meanings: dict[str, str] = {}
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        if title in ("Args", "Arguments", "Parameters"):
            meanings |= _read_arguments(inspect.cleandoc(body))
    return _Docstring(" ".join(purpose.split()), meanings)


def _read_arguments(body: str) -> dict[str, str]:
    meanings: dict[str, str] = {}
    name = ""
    for line in body.splitlines():
        if found := _ARGUMENT.match(line):
            name, said = found.groups()
            meanings[name] = said
        elif name and line[:1].isspace():
            meanings[name] += f" {line.strip()}"
        else:
            name = ""
    return {name: said.strip() for name, said in meanings.items() if said.strip()}
