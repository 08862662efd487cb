"""The tools of the live agent: search and booking in five domains, over the MultiWOZ database.

Names and booking rules are those of AutoTOD (DaDaMrX/AutoTOD, `booking.py`): nothing is ever fully
booked, a booking needs a venue that exists, and a taxi goes from one place to another at some time.
A search takes slots instead of SQL::

    query_restaurants(food="chinese", area="centre")
    {"found": 10, "results": [{"name": "charlie chan", "area": "centre", ...}, ...]}
    book_restaurant(name="charlie chan", people=2, day="friday", time="18:30")
    {"reference": "x3k09bqe", "name": "charlie chan", "people": "2", ...}

Reference numbers, taxis and phones follow from the id of the dialogue and the order of bookings, so
that a run can be repeated.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Mapping
from functools import partial

from pydantic import JsonValue

from coalm.errors import ToolError
from coalm.evals.multiwoz.database import Database, Row
from coalm.evals.multiwoz.normalize import DONT_CARE, evaluator_slot, evaluator_value, minutes
from coalm.evals.multiwoz.schemas import SHOWN, TOOLS, tool_schemas
from coalm.tools import Tool, Toolbox

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_COLORS = ("black", "white", "red", "yellow", "blue", "grey")
_MAKES = (
    "toyota",
    "skoda",
    "bmw",
    "honda",
    "ford",
    "audi",
    "lexus",
    "volvo",
    "volkswagen",
    "tesla",
)
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "restaurant": ("name", "food", "area", "pricerange", "address", "phone", "postcode"),
    "hotel": (
        *("name", "type", "area", "pricerange", "stars", "internet", "parking"),
        *("address", "phone", "postcode"),
    ),
    "attraction": ("name", "type", "area", "entrance fee", "address", "phone", "postcode"),
    "train": (
        *("trainID", "departure", "destination", "day", "leaveAt", "arriveBy"),
        *("duration", "price"),
    ),
}
_VENUES = ("restaurant", "hotel", "attraction")


def dialogue_toolbox(database: Database, seed: str) -> Toolbox:
    """The tools of one dialogue, with a memory of its own for what was booked.

    Args:
        database: What is searched.
        seed: Decides on reference numbers and taxis; the id of the dialogue.
    """
    desk = _Desk(database, seed)
    functions: Mapping[str, Callable[..., JsonValue]] = {
        "book_restaurant": desk.book_restaurant,
        "book_hotel": desk.book_hotel,
        "buy_train_tickets": desk.buy_train_tickets,
        "book_taxi": desk.book_taxi,
    }
    return Toolbox(
        Tool(schema, functions.get(schema.name) or partial(desk.search, TOOLS[schema.name].domain))
        for schema in tool_schemas()
    )


class _Desk:
    """Answers the calls of one dialogue."""

    def __init__(self, database: Database, seed: str) -> None:
        self._database = database
        self._random = random.Random(f"multiwoz/{seed}")

    def search(self, domain: str, **constraints: str) -> JsonValue:
        wanted = self._constraints(domain, constraints)
        rows = self._database.find(domain, wanted)
        # names are found by parts of them, but who names a venue exactly means that one
        rows = [row for row in rows if row.get("name") == wanted.get("name")] or rows
        if domain == "train":
            rows = sorted(rows, key=lambda row: minutes(row["leave"]))
            # who has to be there by a time wants the last train before it
            rows = rows[::-1] if "arriveBy" in constraints else rows
        shown: list[JsonValue] = [_shown(domain, row) for row in rows[:SHOWN]]
        return {"found": len(rows), "results": shown}

    def _constraints(self, domain: str, given: Mapping[str, str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, value in given.items():
            slot, value = evaluator_slot(name), value.strip().lower()
            if value and value not in DONT_CARE:
                found[slot] = self._spelled(domain, slot, value)
        return found

    def _spelled(self, domain: str, slot: str, value: str) -> str:
        """The value as the table writes it, when it differs in blanks and signs only."""
        usual = evaluator_value(slot, value)
        cells = {_letters(row.get(slot, "")): row[slot] for row in self._database.rows(domain)}
        return cells.get(_letters(value)) or cells.get(_letters(usual)) or usual

    def book_restaurant(self, name: str, people: int, day: str, time: str) -> JsonValue:
        row = self._venue("restaurant", name)
        return self._booked(name=row["name"], people=_count("people", people)) | {
            "day": _day(day),
            "time": _time("time", time),
        }

    def book_hotel(self, name: str, people: int, day: str, stay: int) -> JsonValue:
        row = self._venue("hotel", name)
        return self._booked(name=row["name"], people=_count("people", people)) | {
            "day": _day(day),
            "stay": _count("stay", stay),
        }

    def buy_train_tickets(self, trainID: str, tickets: int) -> JsonValue:  # noqa: N803 - a slot
        wanted = trainID.strip().upper()
        if not any(row["trainid"] == wanted for row in self._database.rows("train")):
            raise ToolError(f"there is no train {trainID!r}; find its id with query_trains")
        return self._booked(trainID=wanted, tickets=_count("tickets", tickets))

    def book_taxi(
        self,
        departure: str,
        destination: str,
        leaveAt: str | None = None,  # noqa: N803 - a slot
        arriveBy: str | None = None,  # noqa: N803 - a slot
    ) -> JsonValue:
        start, end = self._place("departure", departure), self._place("destination", destination)
        if start == end:
            raise ToolError(f"departure and destination are the same place, {start}")
        times = {"leaveAt": leaveAt, "arriveBy": arriveBy}
        given: dict[str, JsonValue] = {
            slot: _time(slot, value) for slot, value in times.items() if value
        }
        if not given:
            raise ToolError("a taxi needs leaveAt or arriveBy")
        car = f"{self._random.choice(_COLORS)} {self._random.choice(_MAKES)}"
        phone = "".join(self._random.choices(string.digits, k=10))
        return {"car type": car, "phone": phone, "departure": start, "destination": end, **given}

    def _booked(self, **details: str) -> dict[str, JsonValue]:
        signs = string.ascii_lowercase + string.digits
        return {"reference": "".join(self._random.choices(signs, k=8)), **details}

    def _venue(self, domain: str, name: str) -> Row:
        row = self._find_by("name", domain, name)
        if row is None:
            raise ToolError(f"there is no {domain} {name!r}; find its name with query_{domain}s")
        return row

    def _place(self, slot: str, place: str) -> str:
        for domain in _VENUES:
            row = self._find_by("name", domain, place) or self._find_by("address", domain, place)
            if row is not None:
                return row["name"]
        station = place.strip().lower().removesuffix(" train station")
        if any(station == row["departure"] for row in self._database.rows("train")):
            return f"{station} train station"
        raise ToolError(
            f"{slot} {place!r} is not known; it must be the name or address of a restaurant, "
            "hotel or attraction"
        )

    def _find_by(self, column: str, domain: str, text: str) -> Row | None:
        wanted = _plain(text)
        rows = self._database.rows(domain)
        return next((row for row in rows if _plain(row.get(column, "")) == wanted), None)


def _shown(domain: str, row: Row) -> dict[str, JsonValue]:
    values = {column: row.get(evaluator_slot(column), "?") for column in _COLUMNS[domain]}
    return {column: value for column, value in values.items() if value != "?"}


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text.lower())


def _plain(text: str) -> str:
    """A name without case, signs, `the`, and `hotel` or `restaurant` at its end."""
    name = evaluator_value("name", text).lower()
    return _letters(re.sub(r"^the | (?:hotel|restaurant)$", "", name))


def _count(slot: str, value: int) -> str:
    if value <= 0:
        raise ToolError(f"{slot} must be 1 or more, got {value}")
    return str(value)


def _day(value: str) -> str:
    day = value.strip().lower()
    if day not in _DAYS:
        raise ToolError(f"day must be a day of the week, got {value!r}")
    return day


def _time(slot: str, value: str) -> str:
    time = evaluator_value("time", value)
    # the corpus writes the hour after midnight as 24:00 to 24:59
    if not re.fullmatch(r"([01]\d|2[0-4]):[0-5]\d", time):
        raise ToolError(f"{slot} must be a time as HH:MM, got {value!r}")
    return time
