"""Cabs between the places of a town: fares and orders."""

from __future__ import annotations

import random
from collections.abc import Mapping

from coalm.errors import ToolError
from coalm.world.database import Database
from coalm.world.names import cities
from coalm.world.rules import Row, UnavailableError

TABLES = """
CREATE TABLE places (place TEXT, city TEXT, east INTEGER, north INTEGER);
CREATE TABLE cabs (city TEXT, cab_type TEXT, free INTEGER, wait_minutes INTEGER);
CREATE TABLE cab_orders (reference_number TEXT PRIMARY KEY, pickup TEXT, dropoff TEXT,
    cab_type TEXT, passengers INTEGER);
"""

_SEATS = {"standard": 4, "luxury": 3, "van": 6}
_DOLLARS_PER_MINUTE = {"standard": 1.2, "luxury": 2.5, "van": 1.7}


def fill(database: Database, rng: random.Random) -> None:
    """Stations, restaurants, hotels and cinemas become places; towns get their cabs."""
    found = database.rows(
        "SELECT restaurant_name AS place, city FROM restaurants UNION ALL "
        "SELECT hotel_name, city FROM hotels UNION ALL SELECT cinema_name, city FROM cinemas"
    )
    stations = [{"place": f"{city} Station", "city": city} for city in cities()]
    for row in (*found, *stations):
        spot = (row["place"], row["city"], rng.randint(0, 20), rng.randint(0, 20))
        database.insert("places", [spot])
    for city in cities():
        for kind in _SEATS:
            free, wait = rng.choice((0, 1, 2, 3, 4, 5)), rng.randint(3, 15)
            database.insert("cabs", [(city, kind, free, wait)])


def sample(database: Database, rng: random.Random, known: Mapping[str, str]) -> Row:
    """A value for every slot that a user may give, such that they belong together."""
    there = database.pick(rng, "places", ("place", "city"), {"place": known.get("dropoff")})
    starts = [
        row["place"]
        for row in database.rows("SELECT place FROM places WHERE city = ?", there["city"])
        if row["place"] != there["place"]
    ]
    return {
        "dropoff": there["place"],
        "pickup": rng.choice(starts),
        "cab_type": rng.choice(("standard", "standard", "van", "luxury")),
        "passengers": str(rng.choice((1, 1, 2, 2, 3, 4, 5, 6))),
    }


def estimate_fare(
    database: Database, pickup: str, dropoff: str, cab_type: str = "standard"
) -> list[Row]:
    """Fare and length of the ride."""
    start, end = _place(database, pickup), _place(database, dropoff)
    if start["city"] != end["city"]:
        raise UnavailableError(
            f"{pickup} is in {start['city']} and {dropoff} in {end['city']}; "
            "cabs stay within one town"
        )
    blocks = sum(abs(int(start[way]) - int(end[way])) for way in ("east", "north"))
    length = 3 + blocks // 2
    return [
        {
            "pickup": start["place"],
            "dropoff": end["place"],
            "cab_type": cab_type,
            "fare": str(4 + round(length * _DOLLARS_PER_MINUTE[cab_type])),
            "ride_minutes": str(length),
        }
    ]


def order_cab(
    database: Database,
    pickup: str,
    dropoff: str,
    cab_type: str = "standard",
    passengers: int = 1,
) -> list[Row]:
    """Order a cab; where none is free or big enough, another kind is offered."""
    city = _place(database, pickup)["city"]
    (ride,) = estimate_fare(database, pickup, dropoff, cab_type)
    if not _free(database, city, cab_type, passengers):
        other = next((k for k in _SEATS if _free(database, city, k, passengers)), None)
        raise UnavailableError(
            f"there is no free {cab_type} cab for {passengers} in {city}; "
            + (f"a {other} cab is free" if other else "nor is one of another kind"),
            [
                {**row, "passengers": str(passengers), **_wait(database, city, row["cab_type"])}
                for row in (estimate_fare(database, pickup, dropoff, other) if other else [])
            ],
        )
    database.change(
        "UPDATE cabs SET free = free - 1 WHERE city = ? AND cab_type = ?", city, cab_type
    )
    values = (ride["pickup"], ride["dropoff"], cab_type, passengers)
    reference = database.book("cab_orders", *values)
    wait = _wait(database, city, cab_type)
    return [{**ride, **wait, "passengers": str(passengers), "reference_number": reference}]


def _place(database: Database, name: str) -> Row:
    found = database.search("places", ("place", "city", "east", "north"), {"place": name})
    if not found:
        raise ToolError(f"our cabs do not know a place {name!r}")
    return found[0]


def _free(database: Database, city: str, cab_type: str, passengers: int) -> bool:
    cabs = database.number("SELECT free FROM cabs WHERE city = ? AND cab_type = ?", city, cab_type)
    return cabs > 0 and passengers <= _SEATS[cab_type]


def _wait(database: Database, city: str, cab_type: str) -> Row:
    wanted = {"city": city, "cab_type": cab_type}
    return database.search("cabs", ["wait_minutes"], wanted)[0]


TOOLS = {"EstimateFare": estimate_fare, "OrderCab": order_cab}
