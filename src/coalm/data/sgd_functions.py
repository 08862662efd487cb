"""SGD's intents as functions: schemas with types, names without clashes, and distractors.

Which functions a dialogue offers is fixed for the dialogue: all intents of its services and, as the
configuration says, some of other services. A function is named like its intent; where two functions
on offer would share a name, both are named `Service_Intent`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from coalm.data.base import shuffled
from coalm.data.offers import Distractors
from coalm.data.sgd_records import Intent, Service, Slot
from coalm.types import ToolSchema

ANY = "dontcare"
"""SGD's value for "any will do"; as a default it means that the slot may be left out."""


class Key(NamedTuple):
    """Names one intent of one service."""

    service: str
    intent: str


class Offer(NamedTuple):
    """The functions of one dialogue."""

    tools: tuple[ToolSchema, ...]
    by_key: Mapping[Key, ToolSchema]


class Catalogue:
    """All intents of a schema file, and the choice among them."""

    def __init__(
        self,
        services: Mapping[str, Service],
        distractors: Distractors | None,
        seed: int,
        schemas: Mapping[str, ToolSchema] | None = None,
        *,
        whole_names: bool = False,
    ) -> None:
        """Offer a dialogue's own functions and `distractors` of others; None offers everything.

        Args:
            services: of the schema file.
            distractors: see above.
            seed: draws them.
            schemas: of intents that are tools already, by name; the others get one made.
            whole_names: whether all functions are named `Service_Intent`.
        """
        self._intents = {
            Key(name, intent.name): (service, intent)
            for name, service in services.items()
            for intent in service.intents
        }
        self._distractors = distractors
        self._seed = seed
        self._schemas: dict[tuple[Key, bool], ToolSchema] = {}
        self._given = schemas or {}
        self._whole_names = whole_names

    def offer(self, services: Collection[str], sample: str) -> Offer:
        """The functions of `services` and others, in an order that says nothing about the answer.

        Others and order are drawn for `sample`, such as a dialogue.
        """
        own = [key for key in self._intents if key.service in services]
        if self._distractors is None:
            chosen = list(self._intents)
        else:
            count = self._distractors.drawn(self._seed, sample)
            others = self._others(own, sample)[:count] if count else []
            chosen = shuffled(own + others, self._seed, "offer", sample)
        clashing = Counter(key.intent for key in chosen)
        by_key = {
            key: self._schema(key, self._whole_names or clashing[key.intent] > 1) for key in chosen
        }
        return Offer(tuple(by_key.values()), by_key)

    def _others(self, own: Sequence[Key], sample: str) -> list[Key]:
        """Intents that do another job than the own ones, in a drawn order.

        A second bus or hotel service among the distractors would make the answer ambiguous.
        """
        families = {family(key.service) for key in own}
        names = {key.intent for key in own}
        others = [
            key
            for key in self._intents
            if key.intent not in names and family(key.service) not in families
        ]
        return shuffled(others, self._seed, "distractors", sample)

    def _schema(self, key: Key, qualified: bool) -> ToolSchema:
        """The function of an intent, one object for all dialogues."""
        if (key, qualified) not in self._schemas:
            self._schemas[key, qualified] = self._make_schema(key, qualified)
        return self._schemas[key, qualified]

    def _make_schema(self, key: Key, qualified: bool) -> ToolSchema:
        service, intent = self._intents[key]
        if intent.name in self._given:
            return self._given[intent.name]
        name = f"{key.service}_{key.intent}" if qualified else key.intent
        return ToolSchema(
            name=name, description=intent.description, parameters=_parameters(service, intent)
        )


def family(service: str) -> str:
    """The job that a service does: `Buses` for `Buses_1` and `Buses_2`."""
    return service.rpartition("_")[0] or service


def _parameters(service: Service, intent: Intent) -> dict[str, JsonValue]:
    properties: dict[str, JsonValue] = {}
    for name in intent.required_slots:
        properties[name] = _parameter(service.slot(name), None)
    for name, default in intent.optional_slots.items():
        properties[name] = _parameter(service.slot(name), default)
    return {"type": "object", "properties": properties, "required": list(intent.required_slots)}


def _parameter(slot: Slot | None, default: str | None) -> JsonValue:
    """JSON Schema of one slot; only closed value sets tell of types, so all else is text."""
    if slot is None:
        return {"type": "string"}
    kind = _kind(slot)
    spec: dict[str, JsonValue] = {"type": kind, "description": slot.description}
    values = [typed(kind, value) for value in slot.possible_values]
    if values and kind != "boolean":
        spec["enum" if slot.is_categorical else "examples"] = values
    if default not in (None, ANY):
        spec["default"] = typed(kind, default)
    return spec


def _kind(slot: Slot) -> str:
    values = slot.possible_values if slot.is_categorical else []
    if values and set(values) <= {"True", "False"}:
        return "boolean"
    if values and all(value.isdecimal() for value in values):
        return "integer"
    return "string"


def typed(kind: JsonValue, value: str) -> JsonValue:
    """A value of SGD, always text there, as a value of a JSON Schema type."""
    if kind == "boolean":
        return value == "True"
    return int(value) if kind == "integer" and value.isdecimal() else value
