"""Cinemas: films, showings, tickets."""

from __future__ import annotations

import random
from collections.abc import Mapping

from coalm.errors import ToolError
from coalm.world.database import Database
from coalm.world.names import cities, words, words_by
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
CREATE TABLE cinemas (cinema_name TEXT, city TEXT);
CREATE TABLE films (film_title TEXT, genre TEXT, running_minutes INTEGER, city TEXT);
CREATE TABLE showings (film_title TEXT, city TEXT, cinema_name TEXT, show_time TEXT,
    price INTEGER);
CREATE TABLE film_bookings (reference_number TEXT PRIMARY KEY, film_title TEXT, cinema_name TEXT,
    date TEXT, show_time TEXT, number_of_tickets INTEGER);
CREATE INDEX film_seats_taken ON film_bookings (cinema_name, film_title, date);
"""

_SEATS = 30
_SOLD_OUT = 0.1
"""Share of showings and days without a free seat."""
_FILMS_PER_CITY = 9


def fill(database: Database, rng: random.Random) -> None:
    """Two cinemas a town, its films and their daily showings, some sold out."""
    films = [
        (title, genre, rng.randint(78, 150))
        for genre, titles in words_by("films").items()
        for title in titles
    ]
    names = words("cinemas")
    for number, city in enumerate(cities()):
        houses = names[2 * number : 2 * number + 2]
        database.insert("cinemas", [(house, city) for house in houses])
        for film in rng.sample(films, _FILMS_PER_CITY):
            database.insert("films", [(*film, city)])
            price = rng.randint(8, 16)
            for time in sorted(rng.sample(range(13 * 60, 22 * 60, 15), 3)):
                house = rng.choice(houses)
                database.insert("showings", [(film[0], city, house, clock(time), price)])
                for day in days():
                    if rng.random() < _SOLD_OUT:
                        values = (film[0], house, day, clock(time), _SEATS)
                        database.book("film_bookings", *values)


def sample(database: Database, rng: random.Random, known: Mapping[str, str]) -> Row:
    """A value for every slot that a user may give, such that they belong together."""
    film = database.pick(rng, "films", ("film_title", "city", "genre"), {"city": known.get("city")})
    wanted = {"film_title": film["film_title"], "city": film["city"]}
    return {
        **film,
        **database.pick(rng, "showings", ("cinema_name", "show_time"), wanted),
        "date": known.get("date") or rng.choice(days()),
        "number_of_tickets": str(rng.choice((1, 2, 2, 3, 4, 5, 6, 7, 8))),
    }


def search_films(database: Database, city: str, genre: str | None = None) -> list[Row]:
    """Films that are on in the town, at most ten."""
    columns = ("film_title", "genre", "running_minutes", "city")
    return database.search("films", columns, {"city": city, "genre": genre})


def get_showings(
    database: Database, film_title: str, city: str, date: str = TODAY.isoformat()
) -> list[Row]:
    """When and where the film is shown, sold out or not."""
    day = check_date(date)
    columns = ("film_title", "city", "cinema_name", "show_time", "price")
    found = database.search("showings", columns, {"film_title": film_title, "city": city})
    return [{**row, "date": day} for row in found]


def buy_film_tickets(
    database: Database,
    film_title: str,
    cinema_name: str,
    show_time: str,
    number_of_tickets: int,
    date: str = TODAY.isoformat(),
) -> list[Row]:
    """Buy the tickets; a full showing offers the nearest one in the same cinema."""
    day, time = check_date(date), check_time(show_time)
    columns = ("film_title", "cinema_name", "show_time", "price")
    wanted = {"film_title": film_title, "cinema_name": cinema_name}
    showings = database.search("showings", columns, wanted)
    showing = next((s for s in showings if s["show_time"] == time), None)
    if showing is None:
        times = ", ".join(s["show_time"] for s in showings) or "none"
        raise ToolError(f"{cinema_name} does not show {film_title} at {time}; it does at: {times}")
    total = {"date": day, "number_of_tickets": str(number_of_tickets)}
    total["total_price"] = str(int(showing["price"]) * number_of_tickets)
    if not _free(database, showing, day, number_of_tickets):
        showings.sort(key=lambda s: abs(minutes(s["show_time"]) - minutes(time)))
        others = [s for s in showings if _free(database, s, day, number_of_tickets)][:1]
        hint = f"the one at {others[0]['show_time']} has" if others else "no other one there has"
        raise UnavailableError(
            f"the showing at {time} on {day} has no {number_of_tickets} seats left; {hint}",
            [{**other, **total} for other in others],
        )
    names = (showing["film_title"], showing["cinema_name"])
    reference = database.book("film_bookings", *names, day, time, number_of_tickets)
    return [{**showing, **total, "reference_number": reference}]


def _free(database: Database, showing: Row, day: str, tickets: int) -> bool:
    taken = database.number(
        "SELECT sum(number_of_tickets) FROM film_bookings "
        "WHERE cinema_name = ? AND film_title = ? AND date = ? AND show_time = ?",
        showing["cinema_name"],
        showing["film_title"],
        day,
        showing["show_time"],
    )
    return taken + tickets <= _SEATS


TOOLS = {
    "SearchFilms": search_films,
    "GetShowings": get_showings,
    "BuyFilmTickets": buy_film_tickets,
}
