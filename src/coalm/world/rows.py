"""Function-calling rows over the tools of the world, in the layout of xLAM's files.

`answers` and `tools` are JSON texts; the answer is "[]" where no tool on offer fits::

    {"id": 7, "query": "How is the weather in Fernhill?",
     "answers": '[{"name": "get_forecast", "arguments": {"city": "Fernhill"}}]',
     "tools": '[{"name": "get_forecast", "description": "...", "parameters": {"city":
                {"description": "...", "type": "str"}, "date": {..., "type": "str, optional"}}}]'}
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from coalm.world.database import Database
from coalm.world.schema import DONTCARE, Slot, service_of, services, typed
from coalm.world.tools import MODULES
from coalm.world.wording import request


class Ask(NamedTuple):
    """One thing that somebody wants from one tool."""

    intent: str
    text: str
    """The whole request in words."""
    values: dict[str, str]

    @property
    def arguments(self) -> dict[str, JsonValue]:
        """The values as the live tool takes them."""
        slots = service_of(self.intent).slots
        return {slot: typed(slots[slot], value) for slot, value in self.values.items()}


def all_intents() -> list[str]:
    """The intents of all services."""
    return [name for service in services().values() for name in service.intents]


def ask_for(database: Database, rng: random.Random, intent: str) -> Ask:
    """A request for the intent: all required values, some of the optional ones."""
    service = service_of(intent)
    values = MODULES[service.name].sample(database, rng, {})
    found = service.intents[intent]
    chosen = [*found.required, *(slot for slot in found.optional if rng.random() < 0.5)]
    wanted = {slot: values[slot] for slot in chosen}
    return Ask(intent, request(service, intent, wanted, rng, "literal").text, wanted)


def offered_with(rng: random.Random, needed: Sequence[str], most: int) -> list[str]:
    """The needed tools and some others, in any order."""
    others = [intent for intent in all_intents() if intent not in needed]
    offered = [*needed, *rng.sample(others, rng.randint(0, most))]
    rng.shuffle(offered)
    return offered


def xlam_rows(database: Database, rng: random.Random) -> Iterator[dict[str, JsonValue]]:
    """Ever new rows with one to three calls; ids count from 0."""
    number = 0
    while True:
        intents = _wanted(rng)
        asks = [ask_for(database, rng, intent) for intent in intents]
        if len({json.dumps([ask.intent, ask.values]) for ask in asks}) < len(asks):
            continue
        needed = list(dict.fromkeys(intents))
        yield _xlam_row(number, asks, asks, offered_with(rng, needed, 4))
        number += 1


def irrelevant_rows(database: Database, rng: random.Random) -> Iterator[dict[str, JsonValue]]:
    """Ever new rows whose request no tool on offer can meet; ids count from 0."""
    number = 0
    while True:
        ask = ask_for(database, rng, rng.choice(all_intents()))
        yield _xlam_row(number, [ask], [], rng.sample(far_from(ask.intent), rng.randint(1, 5)))
        number += 1


def far_from(intent: str) -> list[str]:
    """Intents of other services: those of the same one could be a first step towards the wish."""
    near = service_of(intent).intents
    return [other for other in all_intents() if other not in near]


def _wanted(rng: random.Random) -> list[str]:
    kind = rng.random()
    if kind < 0.2:
        return [rng.choice(all_intents())] * 2
    return rng.sample(all_intents(), 1 if kind < 0.7 else 2 if kind < 0.92 else 3)


def _xlam_row(
    number: int, asks: Sequence[Ask], answered: Sequence[Ask], offered: Sequence[str]
) -> dict[str, JsonValue]:
    answers = [{"name": snake_case(a.intent), "arguments": a.arguments} for a in answered]
    return {
        "id": number,
        "query": " ".join(ask.text for ask in asks),
        "answers": json.dumps(answers),
        "tools": json.dumps([_flat_tool(intent) for intent in offered]),
    }


def snake_case(name: str) -> str:
    """`BookTable` as `book_table`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _flat_tool(intent: str) -> dict[str, JsonValue]:
    service = service_of(intent)
    found = service.intents[intent]
    parameters: dict[str, JsonValue] = {}
    for slot in found.inputs:
        about = service.slots[slot]
        kind = {"flag": "bool", "count": "int", "money": "int"}.get(about.kind, "str")
        spec: dict[str, JsonValue] = {"description": _described(about)}
        spec["type"] = kind if slot in found.required else f"{kind}, optional"
        default = found.optional.get(slot)
        if default is not None:
            spec["default"] = "" if default == DONTCARE else typed(about, default)
        parameters[slot] = spec
    return {
        "name": snake_case(intent),
        "description": f"{found.description}.",
        "parameters": parameters,
    }


def _described(slot: Slot) -> str:
    values = f" One of: {', '.join(slot.values)}." if slot.kind == "choice" else ""
    return f"{slot.about}.{values}"
