"""The services of the mini world as data: slots, intents, and how people talk about them.

Each `services/NAME.yaml` holds one service. From it come SGD's `schema.json` entry and the tool
schemas that a live model sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, JsonValue

from coalm.types import ToolSchema
from coalm.world.names import cities
from coalm.world.package_files import read_yaml
from coalm.world.rules import days

Wordings: TypeAlias = tuple[str, ...]
"""Ways to say one thing; the notation is explained on top of `services/dining.yaml`."""

SlotWordings: TypeAlias = dict[str, Wordings | dict[str, Wordings]]
"""Slot to ways to speak of it; yes/no slots have them by value."""

FILES = ("dining", "stays", "rail", "forecast", "bank", "cabs", "cinema", "clinic")
"""The services, in the order of the schema files."""

DONTCARE = "dontcare"
"""SGD's word for 'any value will do'."""


_FORMS = {"date": " (YYYY-MM-DD)", "time": " (HH:MM, 24 hours)"}


class _Text(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Slot(_Text):
    """One piece of information that an intent takes or gives."""

    description: str
    kind: Literal["text", "city", "choice", "flag", "count", "date", "time", "money"] = "text"
    values: tuple[str, ...] = ()
    """All values that a choice or a count can have."""
    spoken: dict[str, Wordings] = {}
    """Value to the words that users have for it, where they differ."""

    @property
    def categorical(self) -> bool:
        """Whether SGD would list its values: then no part of an utterance is marked for it."""
        return self.kind in ("choice", "flag", "count")

    @property
    def about(self) -> str:
        """The description, with the form in which a date or a time is written."""
        return self.description + _FORMS.get(self.kind, "")

    @property
    def possible_values(self) -> tuple[str, ...]:
        """All values of a categorical slot."""
        return ("True", "False") if self.kind == "flag" else self.values

    @property
    def domain(self) -> Sequence[str]:
        """All values that it can have, times by the quarter of an hour; none of a free text."""
        if self.kind == "date":
            return days()
        if self.kind == "time":
            return [f"{hour:02}:{minute:02}" for hour in range(24) for minute in (0, 15, 30, 45)]
        return cities() if self.kind == "city" else self.possible_values


class Intent(_Text):
    """One function of a service."""

    description: str
    transactional: bool = False
    """Whether it changes something: then it is called only after the user confirmed it."""
    required: tuple[str, ...] = ()
    optional: dict[str, str] = {}
    """Optional slot to its default."""
    result: tuple[str, ...] = ()
    leads_to: str | None = None
    """The intent that people usually want next."""
    open: Wordings
    """The user asks for it."""
    follow: Wordings = ()
    """The user asks for it right after the intent that leads to it."""
    suggest: Wordings = ()
    """The assistant offers it."""
    offer: Wordings = ()
    """The assistant gives the first result of a search ..."""
    another: Wordings = ()
    """... and a further one."""
    none: Wordings = ()
    """The search found nothing."""
    confirm: Wordings = ()
    """The assistant asks before it books; holds every input slot."""
    done: Wordings = ()
    failed: Wordings = ()
    instead: Wordings = ()
    """The booking failed, but this could be had."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Required slots, then optional ones."""
        return (*self.required, *self.optional)


class Plan(_Text):
    """Intents that a user may want one after the other, and how often that happens."""

    weight: int
    intents: tuple[str, ...]


class Service(_Text):
    """A service with its intents and wordings."""

    name: str
    description: str
    slots: dict[str, Slot]
    plans: tuple[Plan, ...]
    links: dict[str, tuple[str, ...]] = {}
    """Slot to slots of other services (`Rail_1.destination`) that it takes its value from."""
    intents: dict[str, Intent]
    ask: SlotWordings = {}
    """The assistant asks for a slot."""
    tell: SlotWordings = {}
    """The user gives a slot's value."""
    any: SlotWordings = {}
    """The user does not care about a slot."""
    wonder: SlotWordings = {}
    """The user asks for a slot of a result."""
    answer: SlotWordings = {}
    """The assistant gives it."""

    @property
    def state_slots(self) -> frozenset[str]:
        """Slots that some intent takes: only these enter a dialogue's state."""
        return frozenset(slot for intent in self.intents.values() for slot in intent.inputs)

    def selects(self, intent: str) -> bool:
        """Whether a result must be chosen before the next intent (a restaurant, not a forecast)."""
        after = self.intents[intent].leads_to
        if after is None or self.intents[intent].transactional:
            return False
        given = self.intents[intent].result
        needed = self.intents[after].required
        return any(s in given and s not in self.intents[intent].inputs for s in needed)


@cache
def services() -> dict[str, Service]:
    """Service name to service, all of the world."""
    found = [Service.model_validate(read_yaml(f"services/{name}.yaml")) for name in FILES]
    return {service.name: service for service in found}


class Topic(NamedTuple):
    """What a user may come with."""

    service: Service
    plans: tuple[Plan, ...]


@cache
def topics() -> dict[str, Topic]:
    """Name to topic: a service with all of its plans, or a function with those it begins."""
    found = {name: Topic(service, service.plans) for name, service in services().items()}
    for service in services().values():
        for first in dict.fromkeys(plan.intents[0] for plan in service.plans):
            plans = tuple(plan for plan in service.plans if plan.intents[0] == first)
            found[first] = Topic(service, plans)
    return found


def service_of(intent: str) -> Service:
    """The service that has the intent; intent names occur once in the world."""
    return next(service for service in services().values() if intent in service.intents)


def sgd_schema(service: Service) -> dict[str, JsonValue]:
    """The service's entry in SGD's `schema.json`."""
    return {
        "service_name": service.name,
        "description": service.description,
        "slots": [
            {
                "name": name,
                "description": slot.about,
                "is_categorical": slot.categorical,
                "possible_values": list(slot.possible_values),
            }
            for name, slot in service.slots.items()
        ],
        "intents": [
            {
                "name": name,
                "description": intent.description,
                "is_transactional": intent.transactional,
                "required_slots": list(intent.required),
                "optional_slots": dict(intent.optional),
                "result_slots": list(intent.result),
            }
            for name, intent in service.intents.items()
        ],
    }


def tool_schema(service: Service, intent: str) -> ToolSchema:
    """The intent as a live tool: numbers and booleans are typed, choices and towns are enums."""
    found = service.intents[intent]
    properties: dict[str, JsonValue] = {}
    for name in found.inputs:
        slot, default = service.slots[name], found.optional.get(name, DONTCARE)
        properties[name] = _property(slot, None if default == DONTCARE else default)
    return ToolSchema(
        name=intent,
        description=found.description,
        parameters={
            "type": "object",
            "properties": properties,
            "required": list(found.required),
        },
    )


def _property(slot: Slot, default: str | None) -> dict[str, JsonValue]:
    kind = {"flag": "boolean", "count": "integer", "money": "integer"}.get(slot.kind, "string")
    spec: dict[str, JsonValue] = {
        "type": kind,
        "description": slot.about,
    }
    if slot.kind in ("choice", "count", "city"):
        spec["enum"] = [typed(slot, value) for value in slot.values or cities()]
    if default is not None:
        spec["default"] = typed(slot, default)
    return spec


def typed(slot: Slot, value: str) -> JsonValue:
    """SGD's text value as the JSON value that the live tool takes."""
    if slot.kind == "flag":
        return value == "True"
    return int(value) if slot.kind in ("count", "money") else value
