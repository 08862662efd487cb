"""Trains: search, buy tickets, give them back."""

from __future__ import annotations

import random
from collections.abc import Mapping

from coalm.errors import ToolError
from coalm.world.database import Database
from coalm.world.names import cities
from coalm.world.rules import Row, UnavailableError, check_date, check_time, clock, days, minutes

TABLES = """
CREATE TABLE trains (train_number TEXT, origin TEXT, destination TEXT, departure_time TEXT,
    arrival_time TEXT, time_of_day TEXT, fare INTEGER, seats INTEGER);
CREATE TABLE train_bookings (reference_number TEXT PRIMARY KEY, train_number TEXT, origin TEXT,
    destination TEXT, travel_date TEXT, passengers INTEGER);
CREATE INDEX seats_taken ON train_bookings (train_number, travel_date);
"""

_FOUND = (
    "train_number",
    "origin",
    "destination",
    "departure_time",
    "arrival_time",
    "time_of_day",
    "fare",
)
_SOLD_OUT = 0.12
"""Share of trains and days without a free seat."""
_FIRST_CLASS = 1.6
"""A first class ticket costs so many standard ones."""


def fill(database: Database, rng: random.Random) -> None:
    """Some trains a day between any two towns, some of them sold out."""
    number = 100
    for origin in cities():
        for destination in cities():
            if origin == destination:
                continue
            length, fare, seats = rng.randrange(25, 200, 5), rng.randint(9, 70), 40
            for departure in sorted(rng.sample(range(6 * 60, 22 * 60, 15), rng.randint(3, 6))):
                number += rng.randint(1, 7)
                times = clock(departure), clock(departure + length)
                train = (f"R{number}", origin, destination, *times, _part(departure), fare, seats)
                database.insert("trains", [train])
                for day in days():
                    if rng.random() < _SOLD_OUT:
                        values = (f"R{number}", origin, destination, day, seats)
                        database.book("train_bookings", *values)


def _part(departure: int) -> str:
    return "morning" if departure < 720 else "afternoon" if departure < 1020 else "evening"


def sample(database: Database, rng: random.Random, known: Mapping[str, str]) -> Row:
    """A value for every slot that a user may give, such that they belong together."""
    wanted = {"destination": known.get("destination")}
    return {
        **database.pick(rng, "trains", _FOUND[1:6], wanted),
        **database.pick(rng, "train_bookings", ["reference_number"]),
        "travel_date": known.get("travel_date") or rng.choice(days()),
        "passengers": str(rng.choice((1, 1, 2, 2, 3, 4, 5, 6))),
        "travel_class": rng.choice(("standard", "standard", "first")),
    }


def search_trains(
    database: Database,
    origin: str,
    destination: str,
    travel_date: str,
    time_of_day: str | None = None,
) -> list[Row]:
    """Trains of that day, sold out or not, in order of departure."""
    day = check_date(travel_date)
    wanted = {"origin": origin, "destination": destination, "time_of_day": time_of_day}
    return [{**row, "travel_date": day} for row in database.search("trains", _FOUND, wanted)]


def buy_train_tickets(
    database: Database,
    origin: str,
    destination: str,
    travel_date: str,
    departure_time: str,
    passengers: int = 1,
    travel_class: str = "standard",
) -> list[Row]:
    """Buy the tickets; a full train offers the nearest one of that day that has the seats."""
    day, time = check_date(travel_date), check_time(departure_time)
    route = {"origin": origin, "destination": destination}
    trains = database.search("trains", _FOUND, route)
    train = next((t for t in trains if t["departure_time"] == time), None)
    if train is None:
        times = ", ".join(t["departure_time"] for t in trains) or "none"
        raise ToolError(
            f"no train from {origin} to {destination} at {time}; they leave at: {times}"
        )
    if not _free(database, train, day, passengers):
        trains.sort(key=lambda t: abs(minutes(t["departure_time"]) - minutes(time)))
        others = [t for t in trains if _free(database, t, day, passengers)][:1]
        hint = f"the one at {others[0]['departure_time']} has" if others else "no other one has"
        raise UnavailableError(
            f"train {train['train_number']} on {day} has no {passengers} seats left; {hint}",
            [_ticket(other, day, passengers, travel_class) for other in others],
        )
    route_values = (train["origin"], train["destination"])
    reference = database.book(
        "train_bookings", train["train_number"], *route_values, day, passengers
    )
    return [{**_ticket(train, day, passengers, travel_class), "reference_number": reference}]


def refund_train_tickets(database: Database, reference_number: str) -> list[Row]:
    """Give the tickets back."""
    columns = ("train_number", "origin", "destination", "travel_date", "passengers")
    return database.cancel("train_bookings", ("reference_number", *columns), reference_number)


def _ticket(train: Row, day: str, passengers: int, travel_class: str) -> Row:
    factor = _FIRST_CLASS if travel_class == "first" else 1
    return {
        **train,
        "travel_date": day,
        "passengers": str(passengers),
        "travel_class": travel_class,
        "total_fare": str(round(int(train["fare"]) * factor * passengers)),
    }


def _free(database: Database, train: Row, day: str, passengers: int) -> bool:
    number = train["train_number"]
    taken = database.number(
        "SELECT sum(passengers) FROM train_bookings WHERE train_number = ? AND travel_date = ?",
        number,
        day,
    )
    seats = database.number("SELECT seats FROM trains WHERE train_number = ?", number)
    return taken + passengers <= seats


TOOLS = {
    "SearchTrains": search_trains,
    "BuyTrainTickets": buy_train_tickets,
    "RefundTrainTickets": refund_train_tickets,
}
