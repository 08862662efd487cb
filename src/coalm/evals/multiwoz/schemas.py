"""What a model is told: the tools of the live agent, and the domains whose state it tracks.

Names of tools are those of AutoTOD (DaDaMrX/AutoTOD), slots are named as in the corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pydantic import JsonValue

from coalm.types import ToolSchema

SHOWN = 5
"""Rows that one search shows."""

_AREAS = "centre, north, east, south or west"
_PRICES = "cheap, moderate or expensive"
_SLOTS: Mapping[str, Mapping[str, str]] = {
    "restaurant": {
        "name": "name of the restaurant",
        "food": "kind of food, such as italian",
        "area": _AREAS,
        "pricerange": _PRICES,
    },
    "hotel": {
        "name": "name of the hotel or guesthouse",
        "type": "hotel or guesthouse",
        "area": _AREAS,
        "pricerange": _PRICES,
        "stars": "number of stars, 0 to 5",
        "internet": "yes or no",
        "parking": "yes or no",
    },
    "attraction": {
        "name": "name of the attraction",
        "type": "kind of attraction, such as museum or college",
        "area": _AREAS,
    },
    "train": {
        "departure": "station where the train starts",
        "destination": "station where the train ends",
        "day": "day of the week",
        "leaveAt": "earliest time of departure, HH:MM",
        "arriveBy": "latest time of arrival, HH:MM",
    },
}
_BOOKING = {"people": "number of people", "day": "day of the week"}
_PLACES = {
    "departure": "name or address of a place",
    "destination": "name or address of a place",
    "leaveAt": "time to leave after, HH:MM",
    "arriveBy": "time to arrive by, HH:MM",
}
_MORE_SLOTS: Mapping[str, Mapping[str, str]] = {
    "restaurant": {**_BOOKING, "time": "time of the table, HH:MM"},
    "hotel": {**_BOOKING, "stay": "number of nights"},
    "attraction": {},
    "train": {"people": "number of tickets"},
    "taxi": _PLACES,
}
"""Slots of a state that are not searched by."""
_COUNTS = frozenset({"people", "stay", "tickets"})


class ToolRole(NamedTuple):
    """What a tool is for."""

    domain: str
    books: bool


TOOLS: Mapping[str, ToolRole] = {
    "query_restaurants": ToolRole("restaurant", books=False),
    "book_restaurant": ToolRole("restaurant", books=True),
    "query_hotels": ToolRole("hotel", books=False),
    "book_hotel": ToolRole("hotel", books=True),
    "query_attractions": ToolRole("attraction", books=False),
    "query_trains": ToolRole("train", books=False),
    "buy_train_tickets": ToolRole("train", books=True),
    "book_taxi": ToolRole("taxi", books=True),
}


def tool_schemas() -> tuple[ToolSchema, ...]:
    """What a model is told about the tools, in the order of `TOOLS`."""
    return tuple(_SCHEMAS[name] for name in TOOLS)


def _schema(
    name: str, about: str, parameters: Mapping[str, str], required: Iterable[str] = ()
) -> ToolSchema:
    properties: dict[str, JsonValue] = {
        slot: {"type": "integer" if slot in _COUNTS else "string", "description": meaning}
        for slot, meaning in parameters.items()
    }
    return ToolSchema(
        name=name,
        description=about,
        parameters={"type": "object", "properties": properties, "required": list(required)},
    )


def _search(name: str, things: str) -> ToolSchema:
    about = f"Find {things} that meet all the given constraints; shows at most {SHOWN} of them."
    return _schema(name, about, _SLOTS[TOOLS[name].domain])


def _book(name: str, about: str, parameters: Mapping[str, str]) -> ToolSchema:
    return _schema(name, f"{about}; gives a reference number.", parameters, required=parameters)


_SCHEMAS = {
    schema.name: schema
    for schema in (
        _search("query_restaurants", "restaurants"),
        _book(
            "book_restaurant",
            "Book a table",
            {"name": "name of the restaurant", **_BOOKING, "time": "HH:MM"},
        ),
        _search("query_hotels", "hotels and guesthouses"),
        _book(
            "book_hotel",
            "Book a room",
            {
                "name": "name of the hotel or guesthouse",
                **_BOOKING,
                "stay": "number of nights, from that day on",
            },
        ),
        _search("query_attractions", "attractions"),
        _search("query_trains", "trains"),
        _book(
            "buy_train_tickets",
            "Buy train tickets",
            {"trainID": "id of the train, such as TR1234", "tickets": "number of tickets"},
        ),
        _schema(
            "book_taxi",
            "Book a taxi between two places, at one of the two times at least; gives the car and "
            "its phone number.",
            _PLACES,
            required=("departure", "destination"),
        ),
    )
}


def state_schemas() -> tuple[ToolSchema, ...]:
    """Domains with all slots that a state can have, as schemas that nobody calls."""
    return tuple(
        _schema(domain, f"what the user wants of a {domain}", {**_SLOTS.get(domain, {}), **more})
        for domain, more in _MORE_SLOTS.items()
    )
