"""Hotels: search, book rooms, cancel them."""

from __future__ import annotations

import random
from collections.abc import Mapping

from coalm.errors import ToolError
from coalm.world.database import Database
from coalm.world.names import address, cities, phone_number, words
from coalm.world.rules import LAST_DAY, Row, UnavailableError, check_date, day_after, days

TABLES = """
CREATE TABLE hotels (hotel_name TEXT, city TEXT, stars INTEGER, parking TEXT, pets_welcome TEXT,
    price_per_night INTEGER, address TEXT, phone_number TEXT, free_rooms INTEGER);
CREATE TABLE room_bookings (reference_number TEXT PRIMARY KEY, hotel_name TEXT,
    check_in_date TEXT, check_out_date TEXT, nights INTEGER, rooms INTEGER);
"""

_FOUND = (
    "hotel_name",
    "city",
    "stars",
    "parking",
    "pets_welcome",
    "price_per_night",
    "address",
    "phone_number",
)


def fill(database: Database, rng: random.Random) -> None:
    """Hotels in every town, with some nights booked out."""
    names = [f"{a} {b}" for a in words("hotel_beginnings") for b in words("hotel_endings")]
    rng.shuffle(names)
    for name in names:
        stars, free_rooms = rng.choice((2, 3, 3, 4, 4, 5)), rng.randint(2, 6)
        price = stars * 22 + rng.randint(5, 40)
        flags = str(rng.random() < 0.6), str(rng.random() < 0.5)
        city = rng.choice(cities())
        row = (name, city, stars, *flags, price, address(rng), phone_number(rng), free_rooms)
        database.insert("hotels", [row])
        for _ in range(rng.randint(0, 2)):
            day, nights = rng.choice(days()), rng.randint(1, 5)
            end = day_after(day, nights)
            database.book("room_bookings", name, day, end, nights, free_rooms)


def sample(database: Database, rng: random.Random, known: Mapping[str, str]) -> Row:
    """A value for every slot that a user may give, such that they belong together."""
    return {
        **database.pick(rng, "hotels", _FOUND[:5], {"city": known.get("city")}),
        **database.pick(rng, "room_bookings", ["reference_number"]),
        "check_in_date": known.get("check_in_date") or rng.choice(days()[:-7]),
        "nights": str(rng.choice((1, 2, 2, 3, 3, 4, 5, 6, 7))),
        "rooms": str(rng.choice((1, 1, 1, 2, 2, 3))),
    }


def search_hotels(
    database: Database,
    city: str,
    stars: int | None = None,
    parking: bool | None = None,
    pets_welcome: bool | None = None,
) -> list[Row]:
    """Hotels that fit, at most ten."""
    flags = {"parking": parking, "pets_welcome": pets_welcome}
    wanted = {name: None if flag is None else str(flag) for name, flag in flags.items()}
    return database.search("hotels", _FOUND, {"city": city, "stars": stars, **wanted})


def book_room(
    database: Database,
    hotel_name: str,
    city: str,
    check_in_date: str,
    nights: int,
    rooms: int = 1,
) -> list[Row]:
    """Book the rooms; a full hotel offers the next day on which the stay could begin."""
    day = check_date(check_in_date)
    found = database.search("hotels", _FOUND, {"hotel_name": hotel_name, "city": city})
    if not found:
        raise ToolError(f"there is no hotel {hotel_name!r} in {city}")
    name = found[0]["hotel_name"]
    total = int(found[0]["price_per_night"]) * nights * rooms
    stay = {"nights": str(nights), "rooms": str(rooms), "total_price": str(total)}
    booking = {**found[0], **stay, "check_in_date": day}
    if not _free(database, name, day, nights, rooms):
        later = [other for other in days() if other > day]
        other = next((o for o in later if _free(database, name, o, nights, rooms)), None)
        raise UnavailableError(
            f"the {name} has not enough rooms from {day} for {nights} nights; "
            + (f"the stay could begin on {other}" if other else "nor does it later in the month"),
            [{**booking, "check_in_date": other}] if other else [],
        )
    end = day_after(day, nights)
    reference = database.book("room_bookings", name, day, end, nights, rooms)
    return [{**booking, "reference_number": reference}]


def cancel_room(database: Database, reference_number: str) -> list[Row]:
    """Cancel the stay."""
    columns = ("reference_number", "hotel_name", "check_in_date", "nights", "rooms")
    return database.cancel("room_bookings", columns, reference_number)


def _free(database: Database, name: str, day: str, nights: int, rooms: int) -> bool:
    if day_after(day, nights) > day_after(LAST_DAY.isoformat(), 1):
        return False
    # Counts overlapping stays as if all were on one night: careful, and never overbooked.
    taken = database.number(
        "SELECT sum(rooms) FROM room_bookings "
        "WHERE hotel_name = ? AND check_in_date < ? AND check_out_date > ?",
        name,
        day_after(day, nights),
        day,
    )
    free = database.number("SELECT free_rooms FROM hotels WHERE hotel_name = ?", name)
    return taken + rooms <= free


TOOLS = {"SearchHotels": search_hotels, "BookRoom": book_room, "CancelRoom": cancel_room}
