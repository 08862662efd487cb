"""Seal-Tools as function calls in JSON: one request, the calls that answer it.

A row and a tool, shortened::

    {"id": "dev-easy-1", "query": "Tell me the engagement metrics for the Facebook post ...",
     "calling": [{"api": "getSocialMediaEngagement", "responses": ["API_call_0"],
                  "parameters": {"platform": "Facebook", "post_id": "rOBhSVKGVKe"}}]}
    {"api_name": "getSocialMediaEngagement", "api_description": "...", "required": ["platform"],
     "field": "Media/Social media",
     "parameters": {"platform": {"type": "str", "description": "..."}}}

Rows in which a call uses the result of another (`API_call_0` as a value) are rejected: such a value
cannot be known when all calls are written at once. Upstream: fairyshine/Seal-Tools, folder
`Seal-Tools_Dataset`; its `train.jsonl` is read where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from coalm.data.base import Ledger, chance, pick, sample, shuffled
from coalm.data.config import SealToolsConfig
from coalm.data.files import Copy, RawFile, first_fault, read_lines
from coalm.data.offers import refusal
from coalm.errors import DataError, ToolError
from coalm.tools import check_arguments
from coalm.types import Conversation, Message, ToolCall, ToolSchema

_FOLDER = r"(?:Seal-Tools_Dataset/)?"
_TOOLS = re.compile(rf"{_FOLDER}tool\.jsonl")
_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_RESULT = re.compile(r"API_call_\d+")


class _Record(BaseModel):
    """A row of one of the files; what we have no use for is passed over."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class _Tool(_Record):
    """One row of `tool.jsonl`."""

    api_name: str
    api_description: str
    field: str
    """Two levels: `Media/Social media`."""
    parameters: dict[str, dict[str, JsonValue]]
    required: list[str]


class _Call(_Record):
    """One call of a row."""

    api: str
    parameters: dict[str, JsonValue]


class _Row(_Record):
    """One request."""

    id: str
    query: str
    calling: list[_Call]


class SealToolsSource:
    """Seal-Tools requests."""

    name = "sealtools"

    def __init__(self, copy: Copy, config: SealToolsConfig, seed: int) -> None:
        """Read `copy`; `seed` chooses the distractors."""
        self.ledger = Ledger()
        self._copy = copy
        self._parts = config.parts
        self._distractors = config.distractors
        self._formats = config.formats
        self._no_call = config.no_call
        self._seed = seed
        self._schemas: dict[str, ToolSchema] = {}
        self._fields: dict[str, str] = {}
        self._by_area: dict[str, list[str]] = {}

    def conversations(self) -> Iterator[Conversation]:
        """See `Source.conversations`."""
        for raw in self._copy.walk(_TOOLS, "tool.jsonl", self.ledger):
            self._read_tools(raw)
        if not self._schemas:
            raise DataError(f"{self._copy.root}: tool.jsonl holds no readable tool")
        seen: set[str] = set()
        rows = re.compile(rf"{_FOLDER}(?:{'|'.join(self._parts)})\.jsonl")
        for raw in self._copy.walk(rows, f"{self._parts[-1]}.jsonl", self.ledger):
            for number, data in read_lines(raw, self.ledger):
                yield from self._read_row(f"{raw.path}:{number}", data, seen)

    def _read_tools(self, raw: RawFile) -> None:
        for number, data in read_lines(raw, self.ledger):
            try:
                tool = _Tool.model_validate(data)
            except ValidationError as e:
                self.ledger.reject(f"{raw.path}:{number}", "not a tool", first_fault(e))
                continue
            self.ledger.counts["tools"] += 1
            self._schemas[tool.api_name] = _schema(tool)
            self._fields[tool.api_name] = tool.field
            self._by_area.setdefault(_area(tool.field), []).append(tool.api_name)

    def _read_row(self, where: str, data: Any, seen: set[str]) -> Iterator[Conversation]:
        try:
            row = _Row.model_validate(data)
        except ValidationError as e:
            self.ledger.reject(where, "not a request", first_fault(e))
            return
        if row.id in seen:
            self.ledger.reject(where, "an earlier row has the same id", row.id)
            return
        seen.add(row.id)
        if any(_RESULT.search(str(call.parameters)) for call in row.calling):
            self.ledger.reject(where, "a call needs the result of another", row.id)
            return
        try:
            calls = tuple(map(self._call, row.calling))
        except ToolError as e:
            self.ledger.reject(where, "call that does not fit its schema", str(e))
            return
        self.ledger.counts["requests"] += 1
        prompt_format = pick(self._formats, self._seed, "format", row.id)
        answer = Message(role="assistant", tool_calls=calls)
        fits = chance(self._seed, "no call", row.id) >= self._no_call
        if not fits:
            answer = refusal(prompt_format)
            self.ledger.counts["requests without a call"] += 1
        yield sample(
            f"sealtools/{row.id}",
            [Message(role="user", content=row.query.strip()), answer],
            self._offer(row, fits=fits),
            source=self.name,
            skill="LA",
            prompt_format=prompt_format,
            group=f"sealtools/{row.id}",
        )

    def _call(self, call: _Call) -> ToolCall:
        schema = self._schemas.get(call.api)
        if schema is None:
            raise ToolError(f"tool {call.api!r} is not in tool.jsonl")
        return ToolCall(name=call.api, arguments=check_arguments(schema, call.parameters))

    def _offer(self, row: _Row, *, fits: bool) -> tuple[ToolSchema, ...]:
        """The tools that the calls need, or others in their place, and further others.

        They stand in a drawn order, and there are as many where nothing fits as where something
        does: otherwise their number would give the answer away. Distractors share the area of a
        needed tool but not its field: within a field several tools do the same job under different
        names, and then the answer would not be the only right one.
        """
        needed = list(dict.fromkeys(call.api for call in row.calling))
        kept = needed if fits else []
        if self._distractors is None:
            return tuple(tool for name, tool in self._schemas.items() if fits or name not in needed)
        fields = {self._fields[name] for name in needed}
        areas = sorted({_area(field) for field in fields})
        others = [
            name
            for area in areas
            for name in self._by_area[area]
            if self._fields[name] not in fields
        ]
        wanted = self._distractors.drawn(self._seed, row.id) + len(needed) - len(kept)
        chosen = shuffled(others, self._seed, "distractors", row.id)[:wanted]
        offered = shuffled(kept + chosen, self._seed, "offer", row.id)
        return tuple(self._schemas[name] for name in offered)


def _area(field: str) -> str:
    return field.partition("/")[0]


def _schema(tool: _Tool) -> ToolSchema:
    properties: dict[str, JsonValue] = {
        name: {**spec, "type": _TYPES.get(str(spec.get("type")), "string")}
        for name, spec in tool.parameters.items()
    }
    return ToolSchema(
        name=tool.api_name,
        description=tool.api_description,
        parameters={"type": "object", "properties": properties, "required": list(tool.required)},
    )
