"""The files of Schema-Guided Dialogue (SGD): services, dialogues, and how they are read.

A dialogue alternates USER and SYSTEM turns; a system turn with a call, shortened::

    {"speaker": "SYSTEM", "utterance": "Transfer completed successfully.",
     "frames": [{"service": "Banks_1", "actions": [{"act": "NOTIFY_SUCCESS", "slot": "",
                 "values": [], "canonical_values": []}],
       "service_call": {"method": "TransferMoney", "parameters": {"amount": "820", ...}},
       "service_results": [{"amount": "820", ...}]}]}

Values are text everywhere ("True", "2", "2019-03-04"). Upstream: google-research-datasets/
dstc8-schema-guided-dialogue, folders `train`, `dev`, `test`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from coalm.data.base import Ledger, Shard
from coalm.data.files import Copy, RawFile, first_fault, read_json, read_rows
from coalm.errors import DataError


class _Record(BaseModel):
    """A part of an SGD file; what we have no use for is passed over."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class Slot(_Record):
    """One slot of a service."""

    name: str
    description: str
    is_categorical: bool
    possible_values: list[str]


class Intent(_Record):
    """One function of a service."""

    name: str
    description: str
    is_transactional: bool
    required_slots: list[str]
    optional_slots: dict[str, str]
    """Slot to default; the default "dontcare" means that the slot may be left out."""


class Service(_Record):
    """One service: its slots and intents."""

    service_name: str
    description: str
    slots: list[Slot]
    intents: list[Intent]

    def slot(self, name: str) -> Slot | None:
        """The slot of that name, if there is one."""
        return next((slot for slot in self.slots if slot.name == name), None)

    def intent(self, name: str) -> Intent | None:
        """The intent of that name, if there is one; "NONE" is none."""
        return next((intent for intent in self.intents if intent.name == name), None)


class Action(_Record):
    """One act of a turn, such as OFFER of a slot's values."""

    act: str
    slot: str
    values: list[str]
    """As said in the utterance."""
    canonical_values: list[str]
    """As in calls and results."""


class State(_Record):
    """What the user has said about one service so far."""

    active_intent: str
    slot_values: dict[str, list[str]]
    """Slot to all forms in which its value was said."""


class ServiceCall(_Record):
    """A call of the system to a service."""

    method: str
    parameters: dict[str, str]


class Frame(_Record):
    """What a turn means for one service."""

    service: str
    actions: list[Action]
    state: State | None = None
    service_call: ServiceCall | None = None
    service_results: list[dict[str, str]] | None = None
    slip: str | None = None
    """The function that the system took by mistake, where a dialogue of ours shows one; no file of
    SGD has it."""

    @property
    def acts(self) -> frozenset[str]:
        """The kinds of its actions."""
        return frozenset(action.act for action in self.actions)


class Turn(_Record):
    """One turn of a dialogue."""

    speaker: Literal["USER", "SYSTEM"]
    utterance: str
    frames: list[Frame]

    @property
    def acts(self) -> frozenset[str]:
        """The kinds of actions in all its frames."""
        return frozenset[str]().union(*(frame.acts for frame in self.frames))


class Dialogue(_Record):
    """One dialogue."""

    dialogue_id: str
    services: list[str]
    turns: list[Turn]


_SCHEMA = TypeAdapter(list[Service])
_ID = re.compile(rb'"dialogue_id":\s*"([^"]*)"')


class SgdFiles:
    """One part (train, dev, test) of a copy of SGD."""

    def __init__(self, copy: Copy, part: str, ledger: Ledger) -> None:
        """Read the part's schema.

        Raises:
            DataError: it is missing or not a schema.
        """
        self.part = part
        self._copy = copy
        self._ledger = ledger
        self.services: Mapping[str, Service] = self.read_schema(f"{part}/schema.json")
        """By name, in the order of the file."""

    def read_schema(self, path: str) -> dict[str, Service]:
        """The services of one schema file by name, in the order of the file.

        Raises:
            DataError: it is missing or not a schema.
        """
        ledger = Ledger()
        # only the first: to look through every archive to its end would take seconds
        raw = next(self._copy.walk(re.compile(re.escape(path)), path, ledger), None)
        data = read_json(raw, ledger) if raw else None
        if data is None:
            raise DataError(f"{self._copy.root}: {' '.join(ledger.rejected[0])}")
        try:
            services = _SCHEMA.validate_python(data)
        except ValidationError as e:
            raise DataError(f"{self._copy.root}: {path}: {first_fault(e)}") from e
        self._ledger.files += ledger.files
        return {service.service_name: service for service in services}

    def dialogues(self) -> Iterator[Dialogue]:
        """All good dialogues, shard by shard."""
        for shard in self.shards():
            yield from self.read_shard(shard)

    def shards(self) -> Iterator[Shard]:
        """The files of the part, unread but for the ids in them."""
        wanted = re.compile(rf"{self.part}/dialogues_\d+\.json")
        seen: set[str] = set()
        for raw in self._copy.walk(wanted, f"{self.part}/dialogues_001.json", self._ledger):
            self._ledger.counts["shards"] += 1
            ids = {name.decode("utf-8", "replace") for name in _ID.findall(raw.data)}
            yield Shard(raw.path, raw.data, frozenset(ids & seen))
            seen |= ids

    def read_shard(self, shard: Shard) -> Iterator[Dialogue]:
        """All good dialogues of one file."""
        raw, seen = RawFile(shard.path, shard.data), set(shard.taken)
        for number, item in read_rows(raw, self._ledger):
            where = f"{raw.path}: {_label(item, number)}"
            try:
                dialogue = Dialogue.model_validate(item)
            except ValidationError as e:
                self._ledger.reject(where, "not a dialogue", first_fault(e))
                continue
            if fault := self._fault(dialogue, seen):
                self._ledger.reject(where, "broken dialogue", fault)
                continue
            seen.add(dialogue.dialogue_id)
            self._ledger.counts["dialogues"] += 1
            yield dialogue

    def _fault(self, dialogue: Dialogue, seen: set[str]) -> str:
        """What in the dialogue contradicts itself or the schema; empty when it is sound."""
        if dialogue.dialogue_id in seen:
            return "an earlier dialogue has the same id"
        if unknown := [name for name in dialogue.services if name not in self.services]:
            return f"service {unknown[0]!r} is not in {self.part}/schema.json"
        speakers = [turn.speaker for turn in dialogue.turns]
        if not speakers or speakers != ["USER", "SYSTEM"] * (len(speakers) // 2):
            return "the turns do not alternate between USER and SYSTEM"
        for number, turn in enumerate(dialogue.turns):
            if fault := self._turn_fault(turn, dialogue):
                return f"turn {number}: {fault}"
        return ""

    def _turn_fault(self, turn: Turn, dialogue: Dialogue) -> str:
        if turn.speaker == "SYSTEM" and len(turn.frames) != 1:
            return f"{len(turn.frames)} frames on a system turn instead of one"
        for frame in turn.frames:
            if frame.service not in dialogue.services:
                return f"service {frame.service!r} is not one of the dialogue"
            call = frame.service_call
            if call and self.services[frame.service].intent(call.method) is None:
                return f"method {call.method!r} is not in the schema of {frame.service}"
            if call and frame.service_results is None:
                return "a service_call without service_results"
        return ""


def _label(item: Any, number: int) -> str:
    name = item.get("dialogue_id") if isinstance(item, dict) else None
    return f"dialogue {name}" if isinstance(name, str) else f"dialogue number {number}"
