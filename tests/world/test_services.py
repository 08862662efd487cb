from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from coalm.errors import ToolError
from coalm.tools import Toolbox
from coalm.types import ToolCall
from coalm.world.database import Database
from coalm.world.rules import UnavailableError, check_date, check_time, days
from coalm.world.schema import services
from coalm.world.tools import MODULES, world_database, world_toolbox

Rows = list[dict[str, str]]


@pytest.fixture
def world() -> Database:
    return world_database(1)


@pytest.fixture
def box(world: Database) -> Toolbox:
    return world_toolbox(database=world)


def call(box: Toolbox, name: str, **arguments: Any) -> Rows:
    return cast("Rows", box.call(name, arguments))


def one(world: Database, table: str, **wanted: str) -> dict[str, str]:
    return world.search(table, ["*"], wanted)[0]


def test_a_seed_is_a_world() -> None:
    def first(seed: int) -> list[dict[str, str]]:
        return world_database(seed).rows("SELECT * FROM restaurants")

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_the_world_is_well_stocked(world: Database) -> None:
    for table, least in {
        "restaurants": 150,
        "hotels": 60,
        "trains": 150,
        "films": 50,
        "doctors": 60,
        "places": 200,
    }.items():
        assert world.number(f"SELECT count(*) FROM {table}") >= least, table
    assert world.number("SELECT count(DISTINCT place) FROM places") == world.number(
        "SELECT count(*) FROM places"
    )


def test_bookings_do_not_reach_other_toolboxes(box: Toolbox) -> None:
    before = call(world_toolbox(1), "GetBalance", account_type="savings")
    payee = one(world_database(1), "payees")["recipient_name"]
    call(box, "SendMoney", recipient_name=payee, amount=10, account_type="savings")
    assert call(world_toolbox(1), "GetBalance", account_type="savings") == before
    assert call(box, "GetBalance", account_type="savings") != before


def test_a_world_can_live_in_a_file(tmp_path: Path, world: Database) -> None:
    kept = world.copy(tmp_path / "world.db")
    call(world_toolbox(database=kept), "OrderCab", **_ride(kept))
    assert Database(1, tmp_path / "world.db").number("SELECT count(*) FROM cab_orders") == 1


@pytest.mark.parametrize("intent", [name for s in services().values() for name in s.intents])
def test_tool_schemas_are_typed(intent: str) -> None:
    (schema,) = [schema for schema in world_toolbox(1).schemas if schema.name == intent]
    assert schema.description
    kinds = {"integer": int, "boolean": bool, "string": str}
    for name, spec in schema.properties.items():
        kind = kinds[str(spec["type"])]
        values = [
            *cast("list[Any]", spec.get("enum", [])),
            *([spec["default"]] if "default" in spec else []),
        ]
        assert all(type(value) is kind for value in values), name
        assert spec["description"]


def test_numbers_and_flags_are_no_strings_in_schemas() -> None:
    schemas = {schema.name: schema.properties for schema in world_toolbox(1).schemas}
    assert schemas["BookTable"]["party_size"]["type"] == "integer"
    assert schemas["BookTable"]["party_size"]["default"] == 2
    assert schemas["SendMoney"]["amount"]["type"] == "integer"
    assert schemas["SearchHotels"]["parking"]["type"] == "boolean"
    assert schemas["SearchRestaurants"]["cuisine"]["enum"] == list(
        services()["Dining_1"].slots["cuisine"].values
    )


@pytest.mark.parametrize("name", MODULES)
def test_what_users_want_can_be_asked_for(name: str) -> None:
    world, service = world_database(1), services()[name]
    for number in range(40):
        values = MODULES[name].sample(world, random.Random(number), {})
        for intent, found in service.intents.items():
            arguments = {slot: values[slot] for slot in found.inputs}
            try:
                rows = call(world_toolbox(1), intent, **arguments)
            except UnavailableError:
                continue
            assert all(set(row) == set(found.result) for row in rows), intent
            assert all(isinstance(value, str) for row in rows for value in row.values())
            assert len(rows) <= 10


def _table(world: Database, **more: Any) -> dict[str, Any]:
    place = world.search("restaurants", ["*"], {"opens": "12:00", "closes": "22:00", "tables": 1})[
        0
    ]
    return {
        "restaurant_name": place["restaurant_name"],
        "city": place["city"],
        "time": "13:00",
        **more,
    }


def _ride(world: Database, cab_type: str = "standard") -> dict[str, Any]:
    (city, *_) = world.rows("SELECT city FROM cabs WHERE cab_type = ? AND free > 0", cab_type)
    start, end, *_ = world.search("places", ["place"], {"city": city["city"]})
    return {"pickup": start["place"], "dropoff": end["place"], "cab_type": cab_type}


def test_a_table_is_taken_until_it_is_cancelled(world: Database, box: Toolbox) -> None:
    wish = _table(world, party_size=4)
    (booked,) = call(box, "BookTable", **wish)
    assert (booked["time"], booked["party_size"], booked["date"]) == ("13:00", "4", "2019-03-01")
    with pytest.raises(
        UnavailableError, match=r"is full, so there is no table .* at 13:00; the nearest"
    ) as e:
        box.call("BookTable", wish)
    assert e.value.alternatives[0]["time"] in ("12:00", "14:00")
    (cancelled,) = call(box, "CancelTable", reference_number=booked["reference_number"].lower())
    assert cancelled["restaurant_name"] == wish["restaurant_name"]
    assert call(box, "BookTable", **wish) == [booked]
    call(box, "CancelTable", reference_number=booked["reference_number"])
    with pytest.raises(ToolError, match="nothing is booked under the reference number"):
        box.call("CancelTable", {"reference_number": booked["reference_number"]})


def test_the_alternative_can_be_booked(world: Database, box: Toolbox) -> None:
    wish = _table(world, time="07:00")
    with pytest.raises(UnavailableError, match="takes guests from 12:00 to 21:00") as e:
        box.call("BookTable", wish)
    assert call(box, "BookTable", **{**wish, "time": e.value.alternatives[0]["time"]})


def test_a_full_day_has_no_alternative(world: Database, box: Toolbox) -> None:
    wish = _table(world)
    for hour in range(12, 22):
        world.book(
            "table_bookings", wish["restaurant_name"], wish["city"], "2019-03-01", f"{hour}:00", 2
        )
    with pytest.raises(UnavailableError, match="nothing is free on that day") as e:
        box.call("BookTable", wish)
    assert e.value.alternatives == []


def test_reference_numbers_are_reproducible_and_different(world: Database) -> None:
    def numbers() -> list[str]:
        box = world_toolbox(1)
        times = ("13:00", "14:00", "15:00")
        return [
            call(box, "BookTable", **_table(world, time=t))[0]["reference_number"] for t in times
        ]

    assert numbers() == numbers()
    assert len(set(numbers())) == 3


def test_hotels_fill_up(world: Database, box: Toolbox) -> None:
    hotel = world.rows(
        "SELECT * FROM hotels WHERE hotel_name NOT IN (SELECT hotel_name FROM room_bookings)"
    )[0]
    stay = {"hotel_name": hotel["hotel_name"], "city": hotel["city"], "check_in_date": "2019-03-10"}
    count = int(hotel["free_rooms"])
    booked = [call(box, "BookRoom", **stay, nights=2)[0] for _ in range(count)][-1]
    assert int(booked["total_price"]) == 2 * int(hotel["price_per_night"])
    with pytest.raises(UnavailableError, match="the stay could begin on 2019-03-12") as e:
        box.call("BookRoom", {**stay, "nights": 2})
    assert call(
        box,
        "BookRoom",
        **{**stay, "check_in_date": e.value.alternatives[0]["check_in_date"]},
        nights=2,
    )
    with pytest.raises(UnavailableError, match="nor does it later in the month"):
        box.call("BookRoom", {**stay, "check_in_date": "2019-03-30", "nights": 7})
    assert call(box, "CancelRoom", reference_number=booked["reference_number"])[0]["nights"] == "2"


def test_sold_out_trains_offer_another_one(world: Database, box: Toolbox) -> None:
    (full,) = world.rows("SELECT * FROM train_bookings LIMIT 1")
    train = one(world, "trains", train_number=full["train_number"])
    route = {slot: train[slot] for slot in ("origin", "destination")}
    trip = {**route, "travel_date": full["travel_date"], "departure_time": train["departure_time"]}
    with pytest.raises(UnavailableError, match="has no 2 seats left; the one at") as e:
        box.call("BuyTrainTickets", {**trip, "passengers": 2})
    (other,) = e.value.alternatives
    trip["departure_time"] = other["departure_time"]
    (ticket,) = call(box, "BuyTrainTickets", **trip, passengers=2, travel_class="first")
    assert int(ticket["total_fare"]) > int(other["total_fare"])
    assert call(box, "RefundTrainTickets", reference_number=ticket["reference_number"])
    with pytest.raises(ToolError, match="at 03:33; they leave at: "):
        box.call("BuyTrainTickets", {**trip, "departure_time": "03:33"})


def test_trains_are_found_in_order(box: Toolbox) -> None:
    trip = {"origin": "Fernhill", "destination": "Westhaven", "travel_date": "2019-03-04"}
    rows = call(box, "SearchTrains", **trip)
    assert all(a["departure_time"] < b["departure_time"] for a, b in pairwise(rows))
    evening = call(box, "SearchTrains", **trip, time_of_day="evening")
    assert evening == [row for row in rows if row["departure_time"] >= "17:00"]


def test_money_moves(world: Database, box: Toolbox) -> None:
    payee = one(world, "payees")["recipient_name"]
    (before,) = call(box, "GetBalance", account_type="checking")
    (sent,) = call(box, "SendMoney", recipient_name=payee, amount=100)
    assert int(sent["balance"]) == int(before["balance"]) - 100
    with pytest.raises(UnavailableError, match=rf"holds only \${sent['balance']}$"):
        box.call("SendMoney", {"recipient_name": payee, "amount": 99999})
    with pytest.raises(ToolError, match="must be positive, not -5"):
        box.call("SendMoney", {"recipient_name": payee, "amount": -5})
    with pytest.raises(ToolError, match="'Nobody' is not among the people"):
        box.call("SendMoney", {"recipient_name": "Nobody", "amount": 5})
    assert call(box, "GetBalance", account_type="checking")[0]["balance"] == sent["balance"]


def test_cabs_run_out(world: Database, box: Toolbox) -> None:
    ride = _ride(world)
    (fare,) = call(box, "EstimateFare", **ride)
    (order,) = call(box, "OrderCab", **ride, passengers=2)
    assert order["fare"] == fare["fare"]
    world.change("UPDATE cabs SET free = 0 WHERE cab_type = 'standard'")
    with pytest.raises(UnavailableError, match="there is no free standard cab") as e:
        box.call("OrderCab", ride)
    assert all(other["cab_type"] in ("van", "luxury") for other in e.value.alternatives)
    free = world.number("SELECT sum(free) FROM cabs WHERE cab_type = 'luxury'")
    call(box, "OrderCab", **_ride(world, "luxury"))
    assert world.number("SELECT sum(free) FROM cabs WHERE cab_type = 'luxury'") == free - 1


def test_cabs_are_big_enough_and_stay_in_town(world: Database, box: Toolbox) -> None:
    with pytest.raises(UnavailableError, match="there is no free standard cab for 6"):
        box.call("OrderCab", {**_ride(world), "passengers": 6})
    with pytest.raises(UnavailableError, match="cabs stay within one town"):
        box.call("EstimateFare", {"pickup": "Fernhill Station", "dropoff": "Westhaven Station"})
    with pytest.raises(ToolError, match="do not know a place 'Mars'"):
        box.call("OrderCab", {"pickup": "Mars", "dropoff": "Fernhill Station"})


def test_sold_out_showings(world: Database, box: Toolbox) -> None:
    (full,) = world.rows("SELECT * FROM film_bookings LIMIT 1")
    wish = {slot: full[slot] for slot in ("film_title", "cinema_name", "show_time", "date")}
    with pytest.raises(UnavailableError, match="has no 3 seats left"):
        box.call("BuyFilmTickets", {**wish, "number_of_tickets": 3})
    free = next(day for day in days() if day != full["date"])
    world.change("DELETE FROM film_bookings")
    (bought,) = call(box, "BuyFilmTickets", **{**wish, "date": free}, number_of_tickets=3)
    assert int(bought["total_price"]) % 3 == 0
    with pytest.raises(ToolError, match=r"does not show .* at 04:00; it does at: "):
        box.call("BuyFilmTickets", {**wish, "show_time": "4:00", "number_of_tickets": 1})


def test_doctors_rest_and_are_busy(world: Database, box: Toolbox) -> None:
    doctor = one(world, "doctors", weekend_hours="False")["doctor_name"]
    visit = {"doctor_name": doctor, "appointment_date": "2019-03-04", "appointment_time": "9:00"}
    world.change("DELETE FROM appointments")
    (made,) = call(box, "MakeAppointment", **visit)
    with pytest.raises(
        UnavailableError, match="has no time on 2019-03-04 at 09:00; free are: 09:30"
    ) as e:
        box.call("MakeAppointment", visit)
    assert e.value.alternatives[0]["appointment_time"] == "09:30"
    with pytest.raises(UnavailableError, match="is closed on weekends, and 2019-03-09 is one"):
        box.call("MakeAppointment", {**visit, "appointment_date": "2019-03-09"})
    assert call(box, "CancelAppointment", reference_number=made["reference_number"])


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        (
            "GetForecast",
            {"city": "Atlantis"},
            "'city' must be one of ['Port Marlow', 'Alderbrook', ",
        ),
        (
            "GetForecast",
            {"city": "Fernhill", "date": "tomorrow"},
            "'tomorrow' is not a date; write",
        ),
        (
            "GetForecast",
            {"city": "Fernhill", "date": "2019-04-01"},
            "2019-04-01 cannot be booked; ",
        ),
        (
            "BookTable",
            {"restaurant_name": "X", "city": "Fernhill", "time": "7 pm"},
            "'7 pm' is not a time",
        ),
        (
            "BookTable",
            {"restaurant_name": "X", "city": "Fernhill", "time": "19:00"},
            "no restaurant 'X' in",
        ),
        (
            "BookRoom",
            {"hotel_name": "X", "city": "Fernhill", "check_in_date": "2019-03-02", "nights": 1},
            "there is no hotel 'X' in Fernhill",
        ),
        (
            "MakeAppointment",
            {"doctor_name": "Who", "appointment_date": "2019-03-04", "appointment_time": "9:00"},
            "there is no doctor 'Who'",
        ),
        (
            "SearchHotels",
            {"city": "Fernhill", "stars": 9},
            "'stars' must be one of [2, 3, 4, 5], got 9",
        ),
    ],
)
def test_failures_explain_themselves(name: str, arguments: dict[str, Any], error: str) -> None:
    content = world_toolbox(1).execute(ToolCall(name=name, arguments=arguments)).content
    assert error in json.loads(content)["error"]


def test_names_are_found_in_any_case(box: Toolbox) -> None:
    title = call(box, "SearchFilms", city="Fernhill", genre="comedy")[0]["film_title"]
    shown = call(box, "GetShowings", city="Fernhill", film_title=title)
    assert shown
    assert call(box, "GetShowings", city="Fernhill", film_title=title.upper()) == shown


@pytest.mark.parametrize(
    ("text", "time"), [("9:05", "09:05"), ("23:59", "23:59"), (" 7:00 ", "07:00")]
)
def test_times_are_brought_to_one_form(text: str, time: str) -> None:
    assert check_time(text) == time


@pytest.mark.parametrize("text", ["24:00", "7", "7:5", "noon", "12:60"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(ToolError, match="is not a time of day; write it as HH:MM"):
        check_time(text)


def test_dates_can_be_booked_for_one_month() -> None:
    assert [check_date(day) for day in days()] == days()
    assert len(days()) == 31
    with pytest.raises(ToolError, match="dates run from 2019-03-01 to 2019-03-31"):
        check_date("2019-02-28")


def test_a_draw_takes_any_row_where_none_fits(world: Database) -> None:
    rng = random.Random(0)
    assert world.pick(rng, "hotels", ["city"], {"city": "Fernhill"}) == {"city": "Fernhill"}
    assert world.pick(rng, "hotels", ["city"], {"city": "Atlantis"})["city"] != "Atlantis"
