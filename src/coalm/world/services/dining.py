"""Restaurants: search, book a table, cancel it."""

from __future__ import annotations

import random
from collections.abc import Mapping

from coalm.errors import ToolError
from coalm.world.database import Database
from coalm.world.names import address, cities, phone_number, words, words_by
from coalm.world.rules import (
    TODAY,
    Row,
    UnavailableError,
    check_date,
    check_time,
    clock,
    days,
    minutes,
)

TABLES = """
CREATE TABLE restaurants (restaurant_name TEXT, city TEXT, cuisine TEXT, price_range TEXT,
    outdoor_seating TEXT, address TEXT, phone_number TEXT, tables INTEGER, opens TEXT, closes TEXT);
CREATE TABLE table_bookings (reference_number TEXT PRIMARY KEY, restaurant_name TEXT, city TEXT,
    date TEXT, time TEXT, party_size INTEGER);
CREATE INDEX tables_taken ON table_bookings (restaurant_name, date);
"""

_RESTAURANTS = 200
_STAY = 60
"""Minutes for which a booked table is taken."""
_BUSY = 0.3
"""Share of evenings on which a restaurant has a time without free tables."""
_FOUND = (
    "restaurant_name",
    "city",
    "cuisine",
    "price_range",
    "outdoor_seating",
    "address",
    "phone_number",
)


def fill(database: Database, rng: random.Random) -> None:
    """Restaurants in every town, with some evenings booked out."""
    begins, ends = words_by("restaurants"), words("restaurant_endings")
    names = [(f"{b} {end}", kind) for kind in begins for b in begins[kind] for end in ends]
    rows = [
        (
            name,
            rng.choice(cities()),
            cuisine,
            rng.choice(("cheap", "moderate", "moderate", "expensive")),
            str(rng.random() < 0.5),
            address(rng),
            phone_number(rng),
            rng.randint(1, 3),
            rng.choice(("11:00", "12:00", "17:00")),
            rng.choice(("21:00", "22:00", "22:30")),
        )
        for name, cuisine in rng.sample(names, _RESTAURANTS)
    ]
    database.insert("restaurants", rows)
    for name, city, *_, tables, _opens, _closes in rows:
        for day in days():
            if rng.random() < _BUSY:
                time = clock(rng.randrange(18 * 60, 20 * 60 + 1, 30))
                for _ in range(tables):
                    database.book("table_bookings", name, city, day, time, rng.randint(1, 6))


def sample(database: Database, rng: random.Random, known: Mapping[str, str]) -> Row:
    """A value for every slot that a user may give, such that they belong together."""
    place = database.pick(rng, "restaurants", _FOUND[:5], {"city": known.get("city")})
    booked = database.pick(rng, "table_bookings", ["reference_number"])
    noon, evening = rng.randrange(11, 14) * 60, rng.randrange(17 * 60, 21 * 60, 30)
    return {
        **place,
        **booked,
        "date": rng.choice(days()),
        "time": clock(rng.choice((noon, evening, evening))),
        "party_size": str(rng.choice((1, 2, 2, 3, 4, 4, 5, 6, 7, 8))),
    }


def search_restaurants(
    database: Database,
    city: str,
    cuisine: str,
    price_range: str | None = None,
    outdoor_seating: bool | None = None,
) -> list[Row]:
    """Restaurants that fit, at most ten."""
    seating = None if outdoor_seating is None else str(outdoor_seating)
    wanted = {"city": city, "cuisine": cuisine, "price_range": price_range}
    return database.search("restaurants", _FOUND, {**wanted, "outdoor_seating": seating})


def book_table(
    database: Database,
    restaurant_name: str,
    city: str,
    time: str,
    date: str = TODAY.isoformat(),
    party_size: int = 2,
) -> list[Row]:
    """Book the table; a full restaurant offers its nearest free time of that day."""
    date, time = check_date(date), check_time(time)
    found = database.search(
        "restaurants",
        (*_FOUND, "opens", "closes"),
        {"restaurant_name": restaurant_name, "city": city},
    )
    if not found:
        raise ToolError(f"there is no restaurant {restaurant_name!r} in {city}")
    place = found[0]
    name, opens, last = place["restaurant_name"], place.pop("opens"), _last(place.pop("closes"))
    booking = {**place, "date": date, "time": time, "party_size": str(party_size)}
    open_then = opens <= time <= last
    if not open_then or not _free(database, name, date, time):
        near = _nearest_free(database, name, date, time, opens, last)
        reason = "is full" if open_then else f"takes guests from {opens} to {last}"
        raise UnavailableError(
            f"{name} {reason}, so there is no table on {date} at {time}; "
            + (f"the nearest free time is {near}" if near else "nothing is free on that day"),
            [{**booking, "time": near}] if near else [],
        )
    reference = database.book("table_bookings", name, place["city"], date, time, party_size)
    return [{**booking, "reference_number": reference}]


def cancel_table(database: Database, reference_number: str) -> list[Row]:
    """Cancel the booking."""
    columns = ("reference_number", "restaurant_name", "date", "time", "party_size")
    return database.cancel("table_bookings", columns, reference_number)


def _last(closes: str) -> str:
    return clock(minutes(closes) - _STAY)


def _free(database: Database, name: str, date: str, time: str) -> bool:
    taken = database.number(
        "SELECT count(*) FROM table_bookings "
        "WHERE restaurant_name = ? AND date = ? AND time > ? AND time < ?",
        name,
        date,
        clock(minutes(time) - _STAY),
        clock(minutes(time) + _STAY),
    )
    return taken < database.number("SELECT tables FROM restaurants WHERE restaurant_name = ?", name)


def _nearest_free(
    database: Database, name: str, date: str, time: str, opens: str, last: str
) -> str | None:
    times = [clock(m) for m in range(minutes(opens), minutes(last) + 1, 30)]
    times.sort(key=lambda other: abs(minutes(other) - minutes(time)))
    return next((other for other in times if _free(database, name, date, other)), None)


TOOLS = {
    "SearchRestaurants": search_restaurants,
    "BookTable": book_table,
    "CancelTable": cancel_table,
}
