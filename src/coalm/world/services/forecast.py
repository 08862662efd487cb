"""Weather: a forecast for every town and day."""

from __future__ import annotations

import random
from collections.abc import Mapping

from coalm.world.database import Database
from coalm.world.names import cities
from coalm.world.rules import TODAY, Row, check_date, days

TABLES = """
CREATE TABLE forecasts (city TEXT, date TEXT, condition TEXT, temperature INTEGER,
    chance_of_rain INTEGER, wind_speed INTEGER);
"""

_FOUND = ("city", "date", "condition", "temperature", "chance_of_rain", "wind_speed")
_RAIN = {"sunny": 0, "cloudy": 25, "rainy": 75, "snowy": 65, "foggy": 20, "windy": 30}


def fill(database: Database, rng: random.Random) -> None:
    """The forecasts of the month."""
    for city in cities():
        for day in days():
            condition = rng.choice(tuple(_RAIN))
            heat = rng.randint(24, 34) if condition == "snowy" else rng.randint(38, 72)
            wind = rng.randint(2, 14) + (18 if condition == "windy" else 0)
            rain = _RAIN[condition] + rng.randint(0, 20)
            database.insert("forecasts", [(city, day, condition, heat, rain, wind)])


def sample(database: Database, rng: random.Random, known: Mapping[str, str]) -> Row:
    """A value for every slot that a user may give, such that they belong together."""
    wanted = {"city": known.get("city"), "date": known.get("date")}
    return database.pick(rng, "forecasts", ("city", "date"), wanted)


def get_forecast(database: Database, city: str, date: str = TODAY.isoformat()) -> list[Row]:
    """The weather in the town on that day."""
    return database.search("forecasts", _FOUND, {"city": city, "date": check_date(date)})


TOOLS = {"GetForecast": get_forecast}
