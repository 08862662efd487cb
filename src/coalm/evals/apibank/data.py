r"""API-Bank, levels 1 and 2, as Hammer publishes it: rows, prompts and known faults.

The benchmark is API-Bank (Li et al. 2023); the evaluation that papers report uses the files of
MadeAgents/Hammer, `data/test`, in two forms. A row of `original/apibank_l1.json`::

    {"query": [{"role": "user", "content": "Can you please modify my appointment ...?"},
               {"role": "agent", "content": "Sure. Please provide me with the appointment ID."},
               {"role": "user", "content": "It is 34567890.\nGenerate API Request:"}],
     "tools": [{"name": "ModifyRegistration", "description": "This API modifies ...",
                "parameters": {"appointment_id": {"type": "str", "description": "..."}},
                "return": {"status": {"type": "str", "description": "..."}}}],
     "answers": [{"name": "ModifyRegistration", "arguments": {"appointment_id": "34567890"}}]}

`agent` is the assistant's words, `assistant` an earlier call, `tool` its result. The same row of
`hammer/apibank_l1.json` has all of that as one text::

    {"instruction": "[BEGIN OF TASK INSTRUCTION]\n...", "input": "",
     "output": "```\n[{\"name\": \"ModifyRegistration\", ...}]\n```"}

The data has faults that no model can answer rightly; `FAULTS` names and `faults_of` finds them.
Harmless oddities are left as they are: an escaped apostrophe in 20 `hammer` prompts of level 2,
full-width punctuation in 16, one trailing blank.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from coalm import assets
from coalm.errors import DataError
from coalm.formats import get_format
from coalm.types import Conversation, Message, ToolCall, ToolSchema

Level: TypeAlias = Literal[1, 2]
Form: TypeAlias = Literal["hammer", "original"]

REQUEST = "Generate API Request:"
"""Ends the last message of every row; it is what asks for the call."""

FAULTS: Mapping[str, str] = {
    "repeat": "the same row stands earlier in the file",
    "undeclared argument": "the label uses an argument that its function does not declare",
    "left-out argument": "the label leaves out a declared argument; none is marked as optional",
    "tool not shown": "the function of the label is not among the tools shown",
    "unknown year": "the label holds a date whose year is nowhere in the dialogue",
    "free wording": "the label's search keywords are a wording found nowhere in the dialogue",
}
"""What makes a row impossible to answer by reading it, or counts it twice."""

RowT = TypeVar("RowT", bound=BaseModel)

_YEAR = re.compile(r"(\d{4})-\d\d-\d\d")
_LIST = re.compile(r"list\((\w+)\)")
_JSON_TYPES: Mapping[str, str] = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
}


class Call(BaseModel):
    """A gold call; all its values are text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    arguments: dict[str, JsonValue]


class Turn(BaseModel):
    """One message in Hammer's roles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["user", "agent", "assistant", "tool"]
    content: str


class ToolRow(BaseModel):
    """A tool in API-Bank's notation; further keys (`return`, ...) are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    description: str
    parameters: dict[str, dict[str, JsonValue]]


class OriginalRow(BaseModel):
    """A row of the `original` files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: tuple[Turn, ...]
    tools: tuple[ToolRow, ...]
    answers: tuple[Call, ...]


class HammerRow(BaseModel):
    """A row of the `hammer` files; `input` is always empty."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instruction: str
    input: str
    output: str


_ORIGINAL_ROWS = TypeAdapter(list[OriginalRow])
_HAMMER_ROWS = TypeAdapter(list[HammerRow])


class Row(NamedTuple):
    """One sample: both forms of it."""

    id: str
    level: Level
    original: OriginalRow
    hammer: HammerRow
    faults: tuple[str, ...]
    """Keys of `FAULTS`."""


class LevelData(NamedTuple):
    """All rows of a level, and sha256 of the files they come from."""

    rows: list[Row]
    checksums: dict[str, str]


def load_level(level: Level, folder: Path | None = None) -> LevelData:
    """Read one level.

    Args:
        level: 1 or 2.
        folder: rows of your own in the same layout; None takes the checked asset `apibank`.

    Raises:
        AssetError: the asset is not on this machine or damaged.
        DataError: a file of `folder` is missing or a row is not of the form.
    """
    checksums: dict[str, str] = {}
    originals = _rows(f"original/apibank_l{level}.json", _ORIGINAL_ROWS, folder, checksums)
    hammers = _rows(f"hammer/apibank_l{level}.json", _HAMMER_ROWS, folder, checksums)
    if len(originals) != len(hammers):
        raise DataError(
            f"API-Bank level {level}: {len(originals)} rows in original/, {len(hammers)} in "
            "hammer/; row i of both must be the same sample"
        )
    rows: list[Row] = []
    seen: set[str] = set()
    for at, (original, hammer) in enumerate(zip(originals, hammers, strict=True)):
        text = original.model_dump_json()
        repeat = ("repeat",) if text in seen else ()
        seen.add(text)
        row_id = f"apibank-l{level}-{at:03d}"
        rows.append(Row(row_id, level, original, hammer, repeat + faults_of(original)))
    return LevelData(rows, checksums)


def faults_of(row: OriginalRow) -> tuple[str, ...]:
    """Which of `FAULTS` a row has; a repeat can only be told by reading the whole file."""
    dialogue = "\n".join(turn.content for turn in row.query)
    tools = {tool.name: tool for tool in row.tools}
    found: set[str] = set()
    for call in row.answers:
        if tool := tools.get(call.name):
            if call.arguments.keys() - tool.parameters.keys():
                found.add("undeclared argument")
            if tool.parameters.keys() - call.arguments.keys():
                found.add("left-out argument")
        else:
            found.add("tool not shown")
        for value in map(str, call.arguments.values()):
            if (year := _YEAR.match(value)) and year.group(1) not in dialogue:
                found.add("unknown year")
            if call.name == "ToolSearcher" and value not in dialogue:
                found.add("free wording")
    return tuple(fault for fault in FAULTS if fault in found)


def to_conversation(row: Row) -> Conversation:
    """The `original` form as a conversation, without the answer.

    The request for a call stands at the end of the last message, which may be the assistant's own.
    Here it is a message of the user, so that the conversation ends where the assistant speaks.
    """
    messages: list[Message] = []
    for turn in row.original.query:
        content = turn.content.removesuffix(f"\n{REQUEST}")
        if turn.role == "tool":
            calls = messages[-1].tool_calls if messages else ()
            name = calls[0].name if calls else None
            messages.append(Message(role="tool", name=name, content=content))
        elif turn.role == "assistant":
            messages.append(get_format("json_calls").parse(content))
        else:
            role = "assistant" if turn.role == "agent" else "user"
            messages.append(Message(role=role, content=content))
    messages.append(Message(role="user", content=REQUEST))
    tools = tuple(_schema(tool) for tool in row.original.tools)
    return Conversation(id=row.id, messages=tuple(messages), tools=tools)


def gold_calls(row: Row) -> tuple[ToolCall, ...]:
    """The right answer."""
    return tuple(ToolCall(name=c.name, arguments=c.arguments) for c in row.original.answers)


def _schema(tool: ToolRow) -> ToolSchema:
    properties: dict[str, JsonValue] = {
        name: {**schema, **_json_type(str(schema.get("type", "str")))}
        for name, schema in tool.parameters.items()
    }
    # nothing marks a parameter as optional, and labels do leave some out: none is required
    parameters: dict[str, JsonValue] = {"type": "object", "properties": properties}
    extra = tool.model_extra or {}
    return ToolSchema(name=tool.name, description=tool.description, parameters=parameters, **extra)


def _json_type(name: str) -> dict[str, JsonValue]:
    """API-Bank's type name, such as `list(str)`, in the words of JSON Schema."""
    if match := _LIST.fullmatch(name):
        return {"type": "array", "items": _json_type(match.group(1))}
    return {"type": _JSON_TYPES.get(name, name)}


def _rows(
    path: str, form: TypeAdapter[list[RowT]], folder: Path | None, checksums: dict[str, str]
) -> list[RowT]:
    data = assets.read("apibank", path) if folder is None else _own_file(folder, path)
    checksums[path] = hashlib.sha256(data).hexdigest()
    try:
        return form.validate_json(data)
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: row {where}: {first['msg']}") from e


def _own_file(folder: Path, path: str) -> bytes:
    try:
        return (folder / path).read_bytes()
    except OSError as e:
        raise DataError(f"{folder / path}: cannot be read: {e.strerror}") from e
