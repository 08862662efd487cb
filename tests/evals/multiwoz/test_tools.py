from __future__ import annotations

import json
import re
from typing import Any

import pytest

from coalm.evals.multiwoz.database import Database
from coalm.evals.multiwoz.schemas import TOOLS, state_schemas, tool_schemas
from coalm.evals.multiwoz.tools import dialogue_toolbox
from coalm.tools import Toolbox
from coalm.types import ToolCall


@pytest.fixture
def box(database: Database) -> Toolbox:
    return dialogue_toolbox(database, "mul0001")


def call(box: Toolbox, tool: str, /, **arguments: Any) -> Any:
    return json.loads(box.execute(ToolCall(name=tool, arguments=arguments)).content)


def names(result: dict[str, Any]) -> list[str]:
    return [row["name"] for row in result["results"]]


def test_every_tool_has_a_schema_with_described_parameters(box: Toolbox) -> None:
    assert [schema.name for schema in box.schemas] == list(TOOLS)
    assert box.schemas == tool_schemas()
    for schema in box.schemas:
        assert all(spec["description"] for spec in schema.properties.values())
    booking = next(schema for schema in box.schemas if schema.name == "book_hotel")
    assert booking.required == ("name", "people", "day", "stay")


def test_a_state_has_thirty_slots() -> None:
    slots = {schema.name: set(schema.properties) for schema in state_schemas()}
    assert sum(map(len, slots.values())) == 30
    assert slots["hotel"] >= {"people", "day", "stay", "stars"}
    assert slots["taxi"] == {"leaveAt", "arriveBy", "departure", "destination"}
    assert slots["train"] == {"departure", "destination", "day", "leaveAt", "arriveBy", "people"}


@pytest.mark.parametrize(
    ("constraints", "found"),
    [
        ({"food": "Chinese"}, ["golden lantern"]),
        ({"food": "asian"}, ["the blue door"]),
        ({"area": "centre", "food": "dontcare"}, ["golden lantern", "ask restaurant"]),
        ({"area": "centre", "pricerange": " "}, ["golden lantern", "ask restaurant"]),
        ({"name": "Blue Door"}, ["the blue door"]),
        ({"name": "ask restaurant"}, ["ask restaurant"]),
        ({"food": "thai"}, []),
    ],
)
def test_a_search_shows_what_fits(
    box: Toolbox, constraints: dict[str, str], found: list[str]
) -> None:
    result = call(box, "query_restaurants", **constraints)
    assert names(result) == found
    assert result["found"] == len(found)


def test_a_row_shows_what_is_known(box: Toolbox) -> None:
    (hotel,) = call(box, "query_hotels", type="guest house")["results"]
    assert hotel == {
        "name": "elm guest house",
        "type": "guesthouse",
        "area": "east",
        "pricerange": "cheap",
        "stars": "4",
        "internet": "yes",
        "parking": "no",
        "address": "4 elm road",
        "phone": "01223000011",
        "postcode": "cb44dd",
    }
    (cinema,) = call(box, "query_attractions", type="cinema")["results"]
    assert "area" not in cinema
    assert "entrance fee" not in cinema


def test_names_are_found_however_they_are_written(box: Toolbox) -> None:
    assert names(call(box, "query_attractions", name="Kings Hall")) == ["king's hall"]
    assert names(call(box, "query_hotels", name="elm guesthouse")) == ["elm guest house"]


def test_trains_come_in_the_order_in_which_they_are_wanted(box: Toolbox) -> None:
    def leaving(**constraints: str) -> list[str]:
        found = call(box, "query_trains", departure="Cambridge", **constraints)
        return [row["leaveAt"] for row in found["results"]]

    assert leaving() == leaving(leaveAt="8:00") == ["09:00", "23:50"]
    assert leaving(arriveBy="24:30") == ["23:50", "09:00"]
    assert leaving(leaveAt="10:00") == ["23:50"]
    (train,) = call(box, "query_trains", day="sunday")["results"]
    assert list(train) == [
        *("trainID", "departure", "destination", "day", "leaveAt", "arriveBy"),
        *("duration", "price"),
    ]


def test_a_search_shows_five_rows_at_most(database: Database) -> None:
    rows = [{"id": str(n), "name": f"inn {n}", "type": "hotel"} for n in range(7)]
    tables = {domain: database.rows(domain) for domain in ("restaurant", "attraction", "train")}
    box = dialogue_toolbox(Database({**tables, "hotel": rows}), "x")
    result = call(box, "query_hotels", type="hotel")
    assert result["found"] == 7
    assert names(result) == [f"inn {n}" for n in range(5)]


TABLE = {"name": "Golden Lantern", "people": 2, "day": "Monday", "time": "18:30"}
ROOM = {"name": "river", "people": "3", "day": "friday", "stay": 2}


def test_bookings_give_a_reference_and_what_was_booked(box: Toolbox) -> None:
    table = call(box, "book_restaurant", **TABLE)
    assert re.fullmatch(r"[a-z0-9]{8}", table.pop("reference"))
    assert table == {"name": "golden lantern", "people": "2", "day": "monday", "time": "18:30"}
    room = call(box, "book_hotel", **ROOM)
    assert room.pop("reference")
    assert room == {"name": "river hotel", "people": "3", "day": "friday", "stay": "2"}
    tickets = call(box, "buy_train_tickets", trainID="tr0001", tickets=3)
    assert tickets.pop("reference")
    assert tickets == {"trainID": "TR0001", "tickets": "3"}


def test_a_taxi_comes_with_car_and_phone(box: Toolbox) -> None:
    taxi = call(box, "book_taxi", departure="5 River Lane", destination="king's hall", leaveAt="9")
    assert re.fullmatch(r"\d{10}", taxi.pop("phone"))
    assert re.fullmatch(r"[a-z]+ [a-z]+", taxi.pop("car type"))
    assert taxi == {"departure": "river hotel", "destination": "king's hall", "leaveAt": "09:00"}
    night = call(
        box, "book_taxi", departure="ely train station", destination="river", arriveBy="24:15"
    )
    assert night["departure"] == "ely train station"


def test_a_dialogue_always_gets_the_same_numbers(database: Database) -> None:
    def numbers(seed: str) -> list[str]:
        box = dialogue_toolbox(database, seed)
        return [call(box, "book_restaurant", **TABLE)["reference"] for _ in range(2)]

    first, second = numbers("mul0001")
    assert first != second
    assert numbers("mul0001") == [first, second]
    assert numbers("mul0002") != [first, second]


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("book_restaurant", {**TABLE, "name": "nowhere"}, "there is no restaurant 'nowhere'; find"),
        ("book_restaurant", {**TABLE, "people": 0}, "people must be 1 or more, got 0"),
        ("book_restaurant", {**TABLE, "people": "few"}, "argument 'people' must be an integer"),
        ("book_restaurant", {**TABLE, "day": "someday"}, "day must be a day of the week, got 'so"),
        ("book_restaurant", {**TABLE, "time": "late"}, "time must be a time as HH:MM, got 'late'"),
        ("book_restaurant", {"name": "golden lantern"}, "missing argument 'people', 'day', 'time'"),
        ("book_hotel", {**ROOM, "stay": -1}, "stay must be 1 or more, got -1"),
        (
            "buy_train_tickets",
            {"trainID": "TR9", "tickets": 1},
            "there is no train 'TR9'; find",
        ),
        (
            "book_taxi",
            {"departure": "river", "destination": "elm road", "leaveAt": "9"},
            "'elm road' is not known",
        ),
        (
            "book_taxi",
            {"departure": "river", "destination": "5 river lane", "leaveAt": "9"},
            "departure and destination are the same place, river hotel",
        ),
        (
            "book_taxi",
            {"departure": "river", "destination": "ask restaurant"},
            "a taxi needs leaveAt or arriveBy",
        ),
        (
            "book_taxi",
            {"departure": "a", "destination": "b"},
            "departure 'a' is not known; it",
        ),
        ("query_hotels", {"rooms": "2"}, "unknown argument 'rooms'"),
        ("query_taxis", {}, "there is no tool 'query_taxis'"),
    ],
)
def test_what_cannot_be_done_is_explained(
    box: Toolbox, tool: str, arguments: dict[str, Any], message: str
) -> None:
    assert message in call(box, tool, **arguments)["error"]
