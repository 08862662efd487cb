"""The mini world alive: its database, filled from a seed, and the tools that work on it.

>>> box = world_toolbox(seed=1)
>>> box.execute(ToolCall(name="GetForecast", arguments={"city": "Fernhill"})).content
'[{"chance_of_rain": "24", "city": "Fernhill", "condition": "foggy", ...}]'
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import cast

from pydantic import JsonValue

from coalm.tools import Tool, Toolbox
from coalm.world.database import Database
from coalm.world.rules import Row, UnavailableError
from coalm.world.schema import Intent, service_of, services, tool_schema
from coalm.world.services import bank, cabs, cinema, clinic, dining, forecast, rail, stays

MODULES = {
    "Dining_1": dining,
    "Stays_1": stays,
    "Rail_1": rail,
    "Forecast_1": forecast,
    "Bank_1": bank,
    "Cinema_1": cinema,
    "Clinic_1": clinic,
    "Cabs_1": cabs,  # last: its places are the houses of the others
}


def world_database(seed: int) -> Database:
    """A database of its own with the rows that follow from the seed."""
    return _filled(seed).copy()


@cache
def _filled(seed: int) -> Database:
    database = Database(seed)
    for name, module in MODULES.items():
        database.script(module.TABLES)
        module.fill(database, random.Random(f"{seed}/{name}"))
    return database


def world_toolbox(seed: int = 0, *, database: Database | None = None) -> Toolbox:
    """All tools of the world; what they book lasts as long as the toolbox.

    Tools answer with a list of flat rows whose values are all text, as in the dialogues, so that a
    model reads live what it was trained on. What cannot be done is a ToolError that says why; an
    `UnavailableError` also holds what could be done instead.

    Args:
        seed: Which world; the same seed gives the same rows and reference numbers.
        database: Work on this database instead of a new one of the seed.
    """
    database = database or world_database(seed)
    return Toolbox(
        Tool(
            tool_schema(service_of(intent), intent),
            _bound(database, service_of(intent).intents[intent], function),
        )
        for service in services()
        for intent, function in MODULES[service].TOOLS.items()
    )


def _bound(
    database: Database, intent: Intent, function: Callable[..., list[Row]]
) -> Callable[..., JsonValue]:
    def run(**arguments: JsonValue) -> JsonValue:
        try:
            return cast("JsonValue", _cut(function(database, **arguments), intent))
        except UnavailableError as e:
            raise UnavailableError(str(e), _cut(e.alternatives, intent)) from e

    return run


def _cut(rows: list[Row], intent: Intent) -> list[Row]:
    # Exactly the schema's result slots, in the order of the dialogue files.
    return [{slot: row[slot] for slot in sorted(intent.result) if slot in row} for row in rows]
