"""Tool schemas out of a JSON file, in any of the usual forms.

The file holds a list of schemas (or one schema, or `{"tools": [...]}`), each either plain or in
OpenAI's wrapping::

    {"name": "GetWeather", "description": "...", "parameters": {"type": "object", ...}}
    {"type": "function", "function": {"name": "GetWeather", ...}}
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import JsonValue, ValidationError

from coalm.errors import ToolError
from coalm.types import ToolSchema


def read_tool_schemas(path: Path) -> tuple[ToolSchema, ...]:
    """The schemas of a file, in its order.

    Raises:
        ToolError: the file cannot be read, or an entry of it is no tool schema.
    """
    try:
        found: JsonValue = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as e:
        raise ToolError(f"{path}: no such file") from e
    except (OSError, ValueError, RecursionError) as e:
        raise ToolError(f"{path}: cannot be read as JSON: {e}") from e
    if isinstance(found, dict):
        found = found.get("tools", [found])
    if not isinstance(found, list) or not found:
        raise ToolError(f"{path}: expected a list of tool schemas, got {json.dumps(found)[:60]}")
    return tuple(_schema(entry, f"{path}: tool {at}") for at, entry in enumerate(found, start=1))


def _schema(entry: JsonValue, where: str) -> ToolSchema:
    if isinstance(entry, dict) and "function" in entry:
        entry = entry["function"]
    try:
        return ToolSchema.model_validate(entry)
    except ValidationError as e:
        problem = e.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise ToolError(f"{where}: {f'{key}: ' if key else ''}{problem['msg']}") from e
