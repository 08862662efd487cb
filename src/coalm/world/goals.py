"""What a user of the mini world wants: drawn from the database, so that it can be had."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple, cast

from pydantic import BaseModel, ConfigDict

from coalm.tools import Toolbox
from coalm.world.database import Database
from coalm.world.rules import Row
from coalm.world.schema import DONTCARE, Service, Topic, topics
from coalm.world.tools import MODULES, world_toolbox


class Task(BaseModel):
    """Intents of one service that a user wants one after the other."""

    model_config = ConfigDict(frozen=True)

    service: str
    intents: tuple[str, ...]
    wishes: dict[str, str]
    """Slot to the value the user has in mind, also that of the result to be chosen."""
    hopes: dict[str, str] = {}
    """Values tried first that lead nowhere; given up for the wish, or for any value."""
    follows: str | None = None
    """The service of an earlier task that this one makes no sense without."""


class Goal(BaseModel):
    """All that one user wants in one dialogue."""

    model_config = ConfigDict(frozen=True)

    id: str
    tasks: tuple[Task, ...]


class GoalMaker:
    """Draws goals for the world of one database; it never changes the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._toolbox: Toolbox = world_toolbox(database=database)

    def draw(self, rng: random.Random, id: str, names: Sequence[str]) -> Goal:
        """One task for each of the topics, in their order, linked where they can be.

        A topic is a service, or the function that the user asks for first; see `topics`.
        """
        tasks: list[Task] = []
        for name in names:
            tasks.append(self._task(topics()[name], rng, tasks))
        return Goal(id=id, tasks=tuple(tasks))

    def _task(self, topic: Topic, rng: random.Random, before: Sequence[Task]) -> Task:
        service, plans = topic
        links = _links(service, before)
        known = {slot: link.value for slot, link in links.items()}
        plan = rng.choices(plans, [plan.weight for plan in plans])[0]
        values = MODULES[service.name].sample(self._database, rng, known)
        wishes: dict[str, str] = {}
        hopes: dict[str, str] = {}
        for name in plan.intents:
            intent = service.intents[name]
            wanted = {slot: values[slot] for slot in intent.inputs if slot in values}
            for slot in intent.optional:
                keep = 0.5 if intent.optional[slot] == DONTCARE else 0.8
                if rng.random() > keep and slot not in (wishes | known):
                    wanted.pop(slot, None)
            wishes = wanted | wishes
            if not intent.transactional:
                hopes |= self._hopes(service, name, wishes, rng)
                values |= self._target(service, name, wishes, rng)
        if "reference_number" in wishes and len(plan.intents) > 1:
            del wishes["reference_number"]  # that of the booking made in the dialogue
        elif "reference_number" in wishes and rng.random() < 0.2:
            hopes["reference_number"] = _misread(wishes["reference_number"])
        used = [link.service for slot, link in links.items() if wishes.get(slot) == link.value]
        return Task(
            service=service.name,
            intents=plan.intents,
            wishes=wishes,
            hopes=hopes,
            follows=used[0] if used else None,
        )

    def _hopes(
        self, service: Service, intent: str, wishes: dict[str, str], rng: random.Random
    ) -> dict[str, str]:
        """Optional values with which the search finds nothing; those are no wishes any more."""
        optional = [s for s, v in service.intents[intent].optional.items() if v == DONTCARE]
        tried = [slot for slot in optional if slot in wishes]
        if tried and rng.random() < 0.5:
            wishes[tried[0]] = rng.choice(service.slots[tried[0]].possible_values)
        if self._search(service, intent, wishes):
            return {}
        return {slot: wishes.pop(slot) for slot in tried}

    def _target(
        self, service: Service, intent: str, wishes: dict[str, str], rng: random.Random
    ) -> Row:
        rows = self._search(service, intent, wishes)
        row = rows[min(rng.choice((0, 0, 0, 1, 1, 2)), len(rows) - 1)]
        return {slot: row[slot] for slot in row.keys() & service.state_slots}

    def _search(self, service: Service, intent: str, wishes: dict[str, str]) -> list[Row]:
        inputs = service.intents[intent].inputs
        arguments = {slot: wishes[slot] for slot in inputs if slot in wishes}
        return cast("list[Row]", self._toolbox.call(intent, arguments))


class _Link(NamedTuple):
    """A value that comes out of an earlier task, and that task's service."""

    value: str
    service: str


def _links(service: Service, before: Sequence[Task]) -> dict[str, _Link]:
    wishes = {task.service: task.wishes for task in before}
    found: dict[str, _Link] = {}
    for slot, sources in service.links.items():
        for source in sources:
            name, _, other = source.partition(".")
            if other in wishes.get(name, {}):
                found.setdefault(slot, _Link(wishes[name][other], name))
    return found


def _misread(reference: str) -> str:
    return reference[1::-1] + reference[2:] if reference[0] != reference[1] else reference[::-1]
