r"""xLAM's function calls with Hammer's function masking: one request, the calls that answer it.

A row of `xlam_function_calling_60k.json` (Salesforce/xlam-function-calling-60k, asked for at the
Hugging Face hub) and of the irrelevance rows (MadeAgents/xlam-irrelevance-7.5k), where `answers` is
"[]"; `answers` and `tools` are JSON texts::

    {"id": 7, "query": "How is the weather in Fernhill?",
     "answers": "[{\"name\": \"forecast\", \"arguments\": {\"city\": \"Fernhill\"}}]",
     "tools": "[{\"name\": \"forecast\", \"description\": \"...\", \"parameters\": {\"city\":
                {\"description\": \"...\", \"type\": \"str, optional\", \"default\": \"\"}}}]"}

Rows that Hammer's script has masked already (`masking_sft_data*.json`: instruction, input, output)
are read where the others are not there; they are taken as they are.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError, field_validator

from coalm.data import hammer_masks
from coalm.data.base import Ledger, chance, draw, sample
from coalm.data.config import HammerConfig
from coalm.data.files import Copy, RawFile, first_fault, read_rows
from coalm.data.hammer_masks import Row, Script, UnmaskableError
from coalm.data.offers import Offers
from coalm.data.schemas import is_optional, python_type
from coalm.errors import ToolError
from coalm.tools import check_arguments
from coalm.types import Conversation, Message, ToolCall, ToolSchema

_FOLDER = r"(?:.*/)?"
_FILES = re.compile(
    rf"{_FOLDER}(?P<calls>xlam_function_calling_60k\.json)"
    rf"|{_FOLDER}(?P<none>(?i:xlam-7\.5k-irrelevance)k?\.json)"
    rf"|{_FOLDER}(?P<masked>masking_sft_data\w*\.json)"
)
_EXAMPLE = "xlam_function_calling_60k.json"
_BLOCK = r"\[BEGIN OF {0}\]\n(.*)\n\[END OF {0}\]"
_TOOLS = re.compile(_BLOCK.format("AVAILABLE TOOLS"), re.DOTALL)
_QUERY = re.compile(_BLOCK.format("QUERY"), re.DOTALL)


class _Tool(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    name: str
    description: str
    parameters: dict[str, dict[str, JsonValue]]


class _Call(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    name: str
    arguments: dict[str, JsonValue]


class _Request(BaseModel):
    """One row, its JSON texts read."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    id: int | str | None = None
    query: str
    answers: list[_Call]
    tools: list[_Tool]

    @field_validator("answers", "tools", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as e:
            raise ValueError(f"not JSON: {e}") from e


_MASKED_ROW = TypeAdapter(dict[str, str])
_KINDS = {"calls": "xLAM", "none": "irrelevance", "masked": "masked by Hammer's script"}


class _Record(NamedTuple):
    """One good row, as text: each pass masks a fresh copy."""

    key: str
    """Kind and id; the same in every pass."""
    where: str
    text: str
    query: str
    """As it was before masking."""

    def row(self) -> Row:
        return Row(**json.loads(self.text))


_Numbered = tuple[str, _Record, Row]
"""Id of a sample, the row that it comes from, and what is left of it after masking."""


class HammerSource:
    """xLAM and irrelevance rows, masked."""

    name = "hammer"

    def __init__(self, copy: Copy, config: HammerConfig, seed: int) -> None:
        """Read `copy`; in mode `clean`, `seed` chooses masks and distractors."""
        self.ledger = Ledger()
        self._copy = copy
        self._config = config
        self._seed = seed
        self._offers = Offers(config.distractors, seed)

    def conversations(self) -> Iterator[Conversation]:
        """See `Source.conversations`; in mode `compatible` in the order of Hammer's own file."""
        records, masked = self._read()
        if self._offers.wants_others:
            for record in records or masked:
                self._offers.add(list(map(self._schema, record.row().tools)))
        if records:
            for record in masked:
                self.ledger.reject(record.where, "masked copy of rows that are read themselves")
        elif masked:
            yield from self._samples((record.key, record, record.row()) for record in masked)
            return
        compatible = self._config.mode == "compatible"
        yield from self._samples(self._as_published(records) if compatible else self._ours(records))

    def _read(self) -> tuple[list[_Record], list[_Record]]:
        """The rows of xLAM and then the irrelevance rows; rows that were masked already."""
        kinds: dict[str, list[_Record]] = {"calls": [], "none": [], "masked": []}
        for raw in self._copy.walk(_FILES, _EXAMPLE, self.ledger):
            found = _FILES.fullmatch(raw.path)
            kind = (found and found.lastgroup) or ""
            kinds[kind] += self._records(raw, kind)
        if kinds["none"]:
            # the hub and Hammer's script call this file by different names
            self.ledger.missing = [m for m in self.ledger.missing if "irrelevance" not in m]
        return kinds["calls"] + kinds["none"], kinds["masked"]

    def _records(self, raw: RawFile, kind: str) -> Iterator[_Record]:
        seen: set[str] = set()
        for number, data in read_rows(raw, self.ledger):
            where = f"{raw.path}: row {number}"
            try:
                request = _unmasked(data) if kind == "masked" else _Request.model_validate(data)
            except ValidationError as e:
                self.ledger.reject(where, "not a request", first_fault(e))
                continue
            key = f"hammer/{kind}/{number if request.id is None else request.id}"
            if key in seen:
                self.ledger.reject(where, "an earlier row has the same id", key)
                continue
            seen.add(key)
            self.ledger.counts[f"rows: {_KINDS[kind]}"] += 1
            yield _Record(key, where, request.model_dump_json(exclude={"id"}), request.query)

    def _as_published(self, records: list[_Record]) -> Iterator[_Numbered]:
        """Every row as Hammer's script gives it, in its order."""
        order, script = random.Random(hammer_masks.SEED), Script()
        for number in range(1, self._config.passes + 1):
            shuffled = list(records)
            order.shuffle(shuffled)
            for record in shuffled:
                row = record.row()
                if not script.keeps():
                    try:
                        row = script.mask(row)
                    except UnmaskableError as e:
                        self.ledger.reject(record.where, "Hammer's script stops here", str(e))
                        continue
                yield f"{record.key}/{number}", record, row

    def _ours(self, records: list[_Record]) -> Iterator[_Numbered]:
        for number in range(1, self._config.passes + 1):
            for record in records:
                key = f"{record.key}/{number}"
                row = record.row()
                if chance(self._seed, "masked", key) < self._config.masked:
                    row = hammer_masks.mask(row, random.Random(draw(self._seed, "mask", key)))
                yield key, record, row._replace(tools=hammer_masks.distinct(row.tools))

    def _samples(self, rows: Iterator[_Numbered]) -> Iterator[Conversation]:
        for key, record, row in rows:
            schemas = {tool["name"]: self._schema(tool) for tool in reversed(row.tools)}
            try:
                calls = tuple(_call(call, schemas) for call in row.answers)
            except ToolError as e:
                self.ledger.reject(
                    f"{record.where} ({key})", "call that does not fit its schema", str(e)
                )
                continue
            self.ledger.counts["samples with a call" if calls else "samples without a call"] += 1
            own = [schemas[tool["name"]] for tool in row.tools]
            yield sample(
                key,
                [
                    Message(role="user", content=row.query.strip()),
                    Message(role="assistant", tool_calls=calls),
                ],
                # another function might be the one that an irrelevance row lacks
                self._offers.offer(own, key) if calls else tuple(own),
                source=self.name,
                skill="LA",
                prompt_format="json_calls",
                # an irrelevance row repeats the request of an xLAM row
                group=f"hammer/{draw(record.query):016x}",
            )

    def _schema(self, tool: dict[str, Any]) -> ToolSchema:
        properties: dict[str, JsonValue] = dict(tool["parameters"])
        if self._config.mode == "compatible":
            parameters: dict[str, JsonValue] = {"type": "object", "properties": properties}
            return ToolSchema(
                name=tool["name"], description=tool["description"], parameters=parameters
            )
        required: list[JsonValue] = [
            name
            for name, spec in tool["parameters"].items()
            if "default" not in spec and not is_optional(str(spec.get("type")))
        ]
        properties = {name: _json_schema(spec) for name, spec in tool["parameters"].items()}
        return ToolSchema(
            name=tool["name"],
            description=tool["description"],
            parameters={"type": "object", "properties": properties, "required": required},
        )


def _unmasked(data: Any) -> _Request:
    """A row of Hammer's training file, taken apart again."""
    row = _MASKED_ROW.validate_python(data, strict=True)
    instruction, output = row.get("instruction", ""), row.get("output", "")
    tools, query = _TOOLS.search(instruction), _QUERY.search(instruction)
    found = {
        "tools": tools and tools.group(1),
        "query": query and query.group(1),
        "answers": output.strip("`\n"),
    }
    return _Request.model_validate(found)


def _call(call: dict[str, Any], schemas: dict[str, ToolSchema]) -> ToolCall:
    schema = schemas.get(call["name"])
    if schema is None:
        raise ToolError(f"function {call['name']!r} is not among those on offer")
    return ToolCall(name=call["name"], arguments=check_arguments(schema, call["arguments"]))


def _json_schema(spec: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """A parameter of xLAM as JSON Schema; a default is brought to its type or left out."""
    default = spec.get("default")
    found = python_type(str(spec.get("type", "")))
    if found.get("type") == "integer" and re.fullmatch(r"-?\d+\.\d+", str(default)):
        found["type"] = "number"  # coordinates and rates that the data set calls int
    found |= {key: value for key, value in spec.items() if key not in ("type", "default")}
    if default in (None, ""):
        return found
    parameters: dict[str, JsonValue] = {"properties": {"default": found}}
    try:
        fitting = check_arguments(ToolSchema(name="", parameters=parameters), {"default": default})
    except ToolError:
        return found
    return {**found, **fitting}
