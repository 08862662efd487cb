"""What the users of the benchmark want: goals of the mini world that can be had just as wished.

An errand is a goal taken apart into wants, one for each intent in turn. Whether a want was met is
read off what the tools returned::

    {"service": "Dining_1", "intent": "BookTable", "row": {"restaurant_name": "Blue Heron",
     "time": "18:30", "party_size": "4", ...}, "tell": ["reference_number"]}
"""

from __future__ import annotations

import random
from typing import cast

from pydantic import BaseModel, ConfigDict, JsonValue

from coalm.errors import ToolError
from coalm.tools import Toolbox
from coalm.world.database import Database
from coalm.world.goals import Goal, GoalMaker, Task
from coalm.world.rules import Row
from coalm.world.schema import DONTCARE, Intent, Service, services
from coalm.world.tools import world_database, world_toolbox
from coalm.world.wording import slots_in

REFERENCE = "reference_number"
_SERVICES = (1, 1, 1, 2, 2, 3)
"""How many services a user needs; one of these."""
_CURIOUS = 0.4
"""Share of wants about whose result the user has a question."""


class Want(BaseModel):
    """One intent that a user wants carried out."""

    model_config = ConfigDict(frozen=True)

    service: str
    intent: str
    wishes: dict[str, str]
    """Slot of the intent to the value that the user has in mind and will say."""
    row: dict[str, str]
    """What the result has to hold: wishes, and defaults of what the user does not care to say. For
    a booking that is cancelled again, the reference number is not known before."""
    tell: tuple[str, ...]
    """Slots of that result that the agent has to say aloud."""
    asks: tuple[str, ...] = ()
    """Those of them that the user asks for."""
    picks: bool = False
    """Whether the user chooses among the results, by what `tell` names."""


class Errand(BaseModel):
    """All that one user wants, in order."""

    model_config = ConfigDict(frozen=True)

    id: str
    wants: tuple[Want, ...]


def draw_errands(count: int, seed: int, world: int) -> list[Errand]:
    """The first `count` errands that can be had as wished, in the world of seed `world`."""
    database = world_database(world)
    maker = GoalMaker(database)
    found: list[Errand] = []
    number = 0
    while len(found) < count:
        rng = random.Random(f"{seed}/errand/{number}")
        names = rng.sample([*services()], rng.choice(_SERVICES))
        goal = maker.draw(rng, f"{seed}/{number:04}", names)
        errand = Errand(id=goal.id, wants=tuple(_wants(goal, rng)))
        if _can_be_had(errand, database):
            found.append(errand)
        number += 1
    return found


def _wants(goal: Goal, rng: random.Random) -> list[Want]:
    return [_want(task, name, rng) for task in goal.tasks for name in task.intents]


def _want(task: Task, name: str, rng: random.Random) -> Want:
    service = services()[task.service]
    intent = service.intents[name]
    wishes = {slot: task.wishes[slot] for slot in intent.inputs if slot in task.wishes}
    defaults = {s: v for s, v in intent.optional.items() if v != DONTCARE}
    picks = service.selects(name)
    chosen = task.wishes if picks else {}
    told = _told(intent)
    row = defaults | wishes | {slot: chosen[slot] for slot in told if slot in chosen}
    asks = _asks(service, intent, {*told, *row, *intent.inputs}, rng)
    return Want(
        service=task.service,
        intent=name,
        wishes=wishes,
        row=row,
        tell=(*told, *asks),
        asks=asks,
        picks=picks,
    )


def _told(intent: Intent) -> tuple[str, ...]:
    """What a search is for: the results that the service's users are told in any case."""
    if intent.transactional:
        return ()
    named = [slots_in(wording) for wording in intent.offer]
    return tuple(s for s in intent.result if s not in intent.inputs and all(s in n for n in named))


def _asks(service: Service, intent: Intent, known: set[str], rng: random.Random) -> tuple[str, ...]:
    """A question whose answer can be recognized: that to a yes-or-no question could not."""
    unknown = [slot for slot in intent.result if slot in service.wonder and slot not in known]
    fit = [slot for slot in unknown if service.slots[slot].kind != "flag"]
    return (rng.choice(fit),) if fit and rng.random() < _CURIOUS else ()


def _can_be_had(errand: Errand, database: Database) -> bool:
    """Whether somebody who knows everything can carry it out."""
    toolbox = world_toolbox(database=database.copy())
    reference = ""
    for want in errand.wants:
        row = carry_out(want, toolbox, reference)
        if row is None:
            return False
        reference = row.get(REFERENCE, reference)
    return True


def carry_out(want: Want, toolbox: Toolbox, reference: str) -> Row | None:
    """Call the want's function with what is wished; the row that meets it, None without one.

    Args:
        want: to carry out.
        toolbox: whose tools are called.
        reference: number of the booking before, for who cancels it.
    """
    arguments: dict[str, JsonValue] = dict[str, JsonValue](want.wishes)
    schema = next(schema for schema in toolbox.schemas if schema.name == want.intent)
    if REFERENCE in schema.required and REFERENCE not in arguments:
        arguments[REFERENCE] = reference
    try:
        found = toolbox.call(want.intent, arguments)
    except ToolError:
        return None
    rows = cast("list[Row]", found)
    return next((row for row in rows if agrees(row, want.row)), None)


def agrees(row: Row, wanted: Row) -> bool:
    """Whether the row has every wanted value that it can have; case does not count."""
    return all(
        row[slot].casefold() == value.casefold() for slot, value in wanted.items() if slot in row
    )
