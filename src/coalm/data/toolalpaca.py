r"""ToolAlpaca: requests to one API each, as function calls in JSON.

An entry of `train_data.json`, shortened; a step is what the assistant did and what came back::

    {"Name": "Axolotl", "Function_Description": {"getFacts": "Retrieve facts.\nParameters:
        {\"category\": \"Required. string. One of: [habits, habitat].\", \"limit\": \"integer.\"}\n
        Output: ...", "components": ""},
     "Instances": [{"input": "Tell me two facts ...", "output": "Here are ...",
        "intermediate_steps": [[["getFacts", "{\"limit\": 2}", "I need ..."], "[{...}]"]]}]}

Every step and every final answer is a sample; where the step is the question `getDetails`, the
assistant asks and the user answers. `eval_simulated.json` and `eval_real.json` have `Instructions`
with `Golden_Answers` instead: one sample with all calls. They are evaluation data, read only when
the configuration names them. Upstream: tangqiaoyu/ToolAlpaca, folder `data`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from coalm.data.base import Ledger, sample
from coalm.data.config import ToolAlpacaConfig
from coalm.data.files import Copy, RawFile, first_fault, read_rows
from coalm.data.offers import Offers
from coalm.data.schemas import python_type
from coalm.errors import ToolError
from coalm.tools import check_arguments
from coalm.types import Conversation, Message, ToolCall, ToolSchema

_FOLDER = r"(?:data/)?"
_NAMES = {"train": "train_data", "eval_simulated": "eval_simulated", "eval_real": "eval_real"}
_PARAMETERS = re.compile(r"^Parameters: (\{.*\})$", re.MULTILINE)
_TYPE = re.compile(r"(?P<required>Required\. )?(?P<type>\w+)(?P<inner>\[.*?\])?\S*\s*")
_ASKS = "getDetails"
_HINT = "\nHint: "
"""Opens the part of an instance's input that upstream cuts off as well (`build_dataset.py`)."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class _Answer(_Record):
    """A call of a golden answer."""

    Action: str
    Action_Input: str


class _Instance(BaseModel):
    """A request with what was done about it."""

    # not strict: JSON has lists where Python has pairs
    model_config = ConfigDict(frozen=True, extra="ignore")

    input: str
    output: str
    intermediate_steps: list[tuple[list[str], str]]


class _Api(_Record):
    """One API and the requests to it."""

    Name: str
    Function_Description: dict[str, str]
    Instances: list[JsonValue] = []
    Instructions: list[str] = []
    Golden_Answers: list[list[_Answer]] = []


class _Place(NamedTuple):
    """Where a request stands."""

    where: str
    key: str
    group: str


class ToolAlpacaSource:
    """ToolAlpaca's requests."""

    name = "toolalpaca"

    def __init__(self, copy: Copy, config: ToolAlpacaConfig, seed: int) -> None:
        """Read `copy`; `seed` chooses the distractors."""
        self.ledger = Ledger()
        self._copy = copy
        self._parts = {_NAMES[part]: part for part in config.parts}
        self._offers = Offers(config.distractors, seed)

    def conversations(self) -> Iterator[Conversation]:
        """See `Source.conversations`."""
        apis = self._apis()
        if self._offers.wants_others:
            apis = iter(list(apis))
        for place, api, tools in apis:
            yield from self._instances(place, api, tools)
            yield from self._golden(place, api, tools)

    def _apis(self) -> Iterator[tuple[_Place, _Api, tuple[ToolSchema, ...]]]:
        names = "|".join(self._parts)
        wanted = re.compile(rf"{_FOLDER}(?:{names})\.json")
        for raw in self._copy.walk(wanted, f"{next(iter(self._parts))}.json", self.ledger):
            yield from self._read(raw)

    def _read(self, raw: RawFile) -> Iterator[tuple[_Place, _Api, tuple[ToolSchema, ...]]]:
        part = self._parts[raw.path.rpartition("/")[2].removesuffix(".json")]
        for number, data in read_rows(raw, self.ledger):
            where = f"{raw.path}: row {number}"
            try:
                api = _Api.model_validate(data)
            except ValidationError as e:
                self.ledger.reject(where, "not an API", first_fault(e))
                continue
            tools = tuple(self._functions(where, api))
            self._offers.add(tools)
            self.ledger.counts[f"APIs of {part}"] += 1
            key = f"toolalpaca/{part}/{number:03d}"
            yield _Place(where, key, key), api, tools

    def _functions(self, where: str, api: _Api) -> Iterator[ToolSchema]:
        for name, text in api.Function_Description.items():
            # the entry tells of the results' structure; it is no function
            if name == "components":
                continue
            found = _PARAMETERS.search(text)
            try:
                specs = json.loads(found.group(1)) if found else None
            except (ValueError, RecursionError):
                specs = None
            if not isinstance(specs, dict):
                self.ledger.reject(f"{where}, function {name}", "no list of parameters")
                continue
            properties, required = _schema(specs)
            yield ToolSchema(
                name=name,
                description=text.partition("\n")[0],
                parameters={"type": "object", "properties": properties, "required": required},
            )

    def _golden(
        self, api_place: _Place, api: _Api, tools: Sequence[ToolSchema]
    ) -> Iterator[Conversation]:
        known = {tool.name: tool for tool in tools}
        # a list that is shorter than the other one lacks its last entries
        for number, (text, answers) in enumerate(
            zip(api.Instructions, api.Golden_Answers, strict=False), start=1
        ):
            place = _within(api_place, f"instruction {number}", f"{number:02d}")
            try:
                calls = tuple(_call(known, a.Action, a.Action_Input) for a in answers)
            except ToolError as e:
                self._reject(place, e)
                continue
            said = [
                Message(role="user", content=text.strip()),
                Message(role="assistant", tool_calls=calls),
            ]
            yield self._sample(place.key, place, said, tools)

    def _instances(
        self, api_place: _Place, api: _Api, tools: Sequence[ToolSchema]
    ) -> Iterator[Conversation]:
        for number, data in enumerate(api.Instances, start=1):
            place = _within(api_place, f"instance {number}", f"{number:02d}")
            try:
                instance = _Instance.model_validate(data)
            except ValidationError as e:
                self.ledger.reject(place.where, "not an instance", first_fault(e))
                continue
            yield from self._steps(place, instance, tools)

    def _steps(
        self, place: _Place, instance: _Instance, tools: Sequence[ToolSchema]
    ) -> Iterator[Conversation]:
        """A sample for each step and one for the final answer, up to the first that is false."""
        known = {tool.name: tool for tool in tools}
        said = [Message(role="user", content=instance.input.split(_HINT)[0].strip())]
        for number, (action, observation) in enumerate(instance.intermediate_steps, start=1):
            try:
                message = _step(known, action)
            except ToolError as e:
                self._reject(place, e)
                return
            said.append(message)
            yield self._sample(f"{place.key}/{number:02d}", place, list(said), tools)
            name = message.tool_calls[0].name if message.tool_calls else None
            role = "tool" if name else "user"
            said.append(Message(role=role, name=name, content=observation.strip()))
        said.append(Message(role="assistant", content=instance.output.strip()))
        yield self._sample(f"{place.key}/reply", place, said, tools)

    def _reject(self, place: _Place, error: ToolError) -> None:
        self.ledger.reject(place.where, "call that does not fit its schema", str(error))

    def _sample(
        self, key: str, place: _Place, said: Sequence[Message], tools: Sequence[ToolSchema]
    ) -> Conversation:
        self.ledger.counts["calls" if said[-1].tool_calls else "replies"] += 1
        return sample(
            key,
            said,
            self._offers.offer(tools, place.group),
            source=self.name,
            skill="LA",
            prompt_format="json_calls",
            group=place.group,
        )


def _within(place: _Place, name: str, key: str) -> _Place:
    return _Place(f"{place.where}, {name}", f"{place.key}/{key}", place.group)


def _schema(specs: Mapping[str, JsonValue]) -> tuple[dict[str, JsonValue], list[JsonValue]]:
    """Parameters and the names of the required ones, from texts like `Required. string. ...`."""
    properties: dict[str, JsonValue] = {}
    required: list[JsonValue] = []
    for name, text in specs.items():
        found = _TYPE.match(str(text))
        inner = (found["inner"] or "") if found else ""
        kind = python_type(f"{found['type']}{inner}") if found else {}
        about = str(text)[found.end() :].strip() if found and kind else str(text)
        properties[name] = {**kind, "description": about} if about else dict(kind)
        if found and found["required"]:
            required.append(name)
    return properties, required


def _step(known: Mapping[str, ToolSchema], action: Sequence[str]) -> Message:
    """What the assistant did: a call, or a question to the user.

    Raises:
        ToolError: the call cannot be read or does not fit its function.
    """
    if len(action) < 2:
        raise ToolError(f"a step needs a function and its arguments, got {list(action)!r:.60}")
    name, text = action[0], action[1]
    if name != _ASKS or name in known:
        return Message(role="assistant", tool_calls=(_call(known, name, text),))
    question = _arguments(name, text).get("Question")
    if not isinstance(question, str):
        raise ToolError(f"{name}: a question is needed, got {text!r:.60}")
    return Message(role="assistant", content=question.strip())


def _call(known: Mapping[str, ToolSchema], name: str, text: str) -> ToolCall:
    schema = known.get(name)
    if schema is None:
        raise ToolError(f"function {name!r} is not one of the API")
    # "" stands for an optional parameter that is not given
    given = {
        key: value
        for key, value in _arguments(name, text).items()
        if value != "" or key in schema.required
    }
    return ToolCall(name=name, arguments=check_arguments(schema, given))


def _arguments(name: str, text: str) -> dict[str, JsonValue]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise ToolError(f"{name}: arguments are not JSON: {text!r:.60}") from e
    if not isinstance(found, dict):
        raise ToolError(f"{name}: arguments must be an object, got {text!r:.60}")
    return found
