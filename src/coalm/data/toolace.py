r"""ToolACE: conversations with calls in Python notation over functions named in the system text.

One row of `data.json` (Team-ACE/ToolACE at the Hugging Face hub), shortened::

    {"system": "You are an expert in composing functions. ... [{\"name\": \"Market Trends API\",
        \"description\": \"...\", \"parameters\": {\"type\": \"dict\", \"properties\": {...},
        \"required\": [\"trend_type\"]}}] ... in the format of [func1(params_name=...)]",
     "conversations": [
        {"from": "user", "value": "Which markets are up?"},
        {"from": "assistant", "value": "[Market Trends API(trend_type=\"MARKET_INDEXES\")]"},
        {"from": "tool", "value": "[{\"name\": \"Market Trends API\", \"results\": {...}}]"},
        {"from": "assistant", "value": "..."}]}

Every assistant turn becomes a sample with everything before it. A turn that is a list of calls from
its first to its last character is calls, everything else is prose. The system text gives the
functions and the time; our own instructions stand in for the rest of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from coalm.data.base import Ledger, sample
from coalm.data.config import ToolAceConfig
from coalm.data.files import Copy, first_fault, read_rows
from coalm.data.offers import Offers
from coalm.data.schemas import json_schema
from coalm.errors import ParseError, ToolError
from coalm.formats.calls import read_calls
from coalm.formats.text import write_json
from coalm.tools import check_arguments
from coalm.types import Conversation, Message, ToolCall, ToolSchema

_FILES = re.compile(r"(?:.*/)?data\.json")
_LIST = re.compile(r"\[\s*(?=\{)")
_NOW = re.compile(
    r"(?i)\b(?:today|(?:current|today's) (?:date|time))\b[^.\n\d]{0,40}"
    r"(?P<date>\d{4}-\d{2}-\d{2})(?:[ T](?P<time>\d{2}:\d{2}(?::\d{2})?))?"
)


class _Turn(BaseModel):
    """One turn."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    speaker: Literal["user", "assistant", "tool"] = Field(alias="from")
    value: str


class _Row(BaseModel):
    """One conversation."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    system: str
    conversations: list[_Turn]


class _Tool(BaseModel):
    """A function in the system text."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    name: str
    description: str = ""
    parameters: dict[str, JsonValue]


_TOOLS = TypeAdapter(list[_Tool])


class _Talk(NamedTuple):
    """One good row."""

    key: str
    where: str
    system: str
    tools: tuple[ToolSchema, ...]
    turns: list[_Turn]


class ToolAceSource:
    """ToolACE's assistant turns."""

    name = "toolace"

    def __init__(self, copy: Copy, config: ToolAceConfig, seed: int) -> None:
        """Read `copy`; `seed` chooses the distractors."""
        self.ledger = Ledger()
        self._copy = copy
        self._offers = Offers(config.distractors, seed)

    def conversations(self) -> Iterator[Conversation]:
        """See `Source.conversations`."""
        talks = self._talks()
        if self._offers.wants_others:
            talks = iter(list(talks))
        for talk in talks:
            self.ledger.counts["conversations"] += 1
            yield from self._samples(talk)

    def _talks(self) -> Iterator[_Talk]:
        for raw in self._copy.walk(_FILES, "data.json", self.ledger):
            for number, data in read_rows(raw, self.ledger):
                where = f"{raw.path}: row {number}"
                try:
                    row = _Row.model_validate(data)
                    tools = _tools(row.system)
                except ValidationError as e:
                    self.ledger.reject(where, "not a conversation", first_fault(e))
                    continue
                if tools is None:
                    self.ledger.reject(where, "no list of functions in the system text")
                    continue
                self._offers.add(tools)
                yield _Talk(f"toolace/{number:05d}", where, row.system, tools, row.conversations)

    def _samples(self, talk: _Talk) -> Iterator[Conversation]:
        """One sample for each assistant turn, up to the first that is false."""
        own = {tool.name: tool for tool in talk.tools}
        history = _now(talk.system)
        ends: list[int] = []
        for number, turn in enumerate(talk.turns, start=1):
            if turn.speaker == "user":
                history.append(Message(role="user", content=turn.value.strip()))
            elif turn.speaker == "tool":
                history += _results(turn.value, history[-1].tool_calls if history else ())
            else:
                try:
                    history.append(self._said(turn.value.strip(), own))
                except ToolError as e:
                    self._reject(talk, number, str(e))
                    break
                ends.append(len(history))
        called = any(message.tool_calls for message in history)
        # where nothing is called, another function might be the one that was missing
        tools = self._offers.offer(talk.tools, talk.key) if called else talk.tools
        for end in ends:
            self.ledger.counts["calls" if history[end - 1].tool_calls else "prose"] += 1
            yield sample(
                f"{talk.key}/{end:02d}",
                history[:end],
                tools,
                source=self.name,
                skill="LA",
                prompt_format="python_calls",
                group=talk.key,
            )

    def _said(self, text: str, own: Mapping[str, ToolSchema]) -> Message:
        """An assistant turn; calls are checked.

        Raises:
            ToolError: a call does not fit the functions on offer.
        """
        try:
            calls = read_calls(text, own) if text.startswith("[") else ()
        except ParseError:
            calls = ()
            if any(text[1:].lstrip().startswith(f"{name}(") for name in own):
                self.ledger.counts["begins like a call, read as prose"] += 1
        if not calls:
            return Message(role="assistant", content=text)
        return Message(role="assistant", tool_calls=tuple(_checked(call, own) for call in calls))

    def _reject(self, talk: _Talk, number: int, detail: str) -> None:
        """Name the false turn and every later one of the conversation that would be a sample."""
        where = f"{talk.where}, turn {number}"
        self.ledger.reject(where, "call that does not fit its schema", detail)
        for later, turn in enumerate(talk.turns[number:], start=number + 1):
            if turn.speaker == "assistant":
                place = f"{talk.where}, turn {later}"
                self.ledger.reject(place, "follows a turn that was dropped", where)


def _tools(system: str) -> tuple[ToolSchema, ...] | None:
    """The functions that stand as a JSON list in the text; None when there is no such list.

    Raises:
        ValidationError: the list holds something else.
    """
    decoder = json.JSONDecoder()
    for start in _LIST.finditer(system):
        try:
            found = decoder.raw_decode(system, start.start())[0]
        except (ValueError, RecursionError):
            continue
        tools: dict[str, ToolSchema] = {}
        for tool in _TOOLS.validate_python(found):
            parameters = {"properties": {}, **json_schema(tool.parameters)}
            schema = ToolSchema(
                name=tool.name.strip(), description=tool.description, parameters=parameters
            )
            tools.setdefault(schema.name, schema)
        return tuple(tools.values())
    return None


def _now(system: str) -> list[Message]:
    """Day and time that the system text names: without them nobody knows what "tomorrow" is."""
    found = _NOW.search(system)
    if not found:
        return []
    day, time = found["date"], found["time"]
    text = f"The current time is {day} {time}." if time else f"Today is {day}."
    return [Message(role="system", content=text)]


def _results(text: str, calls: Sequence[ToolCall]) -> list[Message]:
    """A message for each result, where they stand in a list as long as that of the calls."""
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    named = isinstance(found, list) and all(
        isinstance(item, dict) and isinstance(item.get("name"), str) and "results" in item
        for item in found
    )
    if not named or [item["name"] for item in found] != [call.name for call in calls]:
        return [Message(role="tool", content=text.strip())]
    return [
        Message(role="tool", name=item["name"], content=write_json(item["results"]))
        for item in found
    ]


def _checked(call: ToolCall, own: Mapping[str, ToolSchema]) -> ToolCall:
    if call.name not in own:
        raise ToolError(f"function {call.name!r} is not among those on offer")
    return ToolCall(name=call.name, arguments=check_arguments(own[call.name], call.arguments))
