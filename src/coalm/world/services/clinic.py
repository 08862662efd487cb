"""Doctors: search, make an appointment, cancel it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import date

from coalm.errors import ToolError
from coalm.world.database import Database
from coalm.world.names import address, cities, people, phone_number
from coalm.world.rules import Row, UnavailableError, check_date, check_time, clock, days, minutes

TABLES = """
CREATE TABLE doctors (doctor_name TEXT, city TEXT, specialty TEXT, weekend_hours TEXT,
    address TEXT, phone_number TEXT);
CREATE TABLE appointments (reference_number TEXT PRIMARY KEY, doctor_name TEXT,
    appointment_date TEXT, appointment_time TEXT);
CREATE INDEX times_taken ON appointments (doctor_name, appointment_date);
"""

_FOUND = ("doctor_name", "city", "specialty", "weekend_hours", "address", "phone_number")
_SPECIALTIES = ("dentist", "dermatologist", "eye doctor", "family doctor", "physiotherapist")
_TIMES = tuple(clock(m) for m in (*range(9 * 60, 12 * 60, 30), *range(13 * 60, 17 * 60, 30)))
_TAKEN = 0.2
"""Share of days on which a doctor already has a patient at some time."""


def fill(database: Database, rng: random.Random) -> None:
    """Doctors in every town, some of their times taken."""
    names = iter(people(rng, len(cities()) * len(_SPECIALTIES) * 3))
    for city in cities():
        for specialty in _SPECIALTIES:
            for _ in range(rng.randint(1, 3)):
                name, weekend = f"Dr. {next(names)}", str(rng.random() < 0.4)
                row = (name, city, specialty, weekend, address(rng), phone_number(rng))
                database.insert("doctors", [row])
                for day in days():
                    for time in rng.sample(_TIMES, 4) if rng.random() < _TAKEN else ():
                        database.book("appointments", name, day, time)


def sample(database: Database, rng: random.Random, known: Mapping[str, str]) -> Row:
    """A value for every slot that a user may give, such that they belong together."""
    return {
        **database.pick(rng, "doctors", _FOUND[:4], {"city": known.get("city")}),
        **database.pick(rng, "appointments", ["reference_number"]),
        "appointment_date": rng.choice(_weekdays() if rng.random() < 0.9 else days()),
        "appointment_time": rng.choice(_TIMES),
    }


def search_doctors(
    database: Database, city: str, specialty: str, weekend_hours: bool | None = None
) -> list[Row]:
    """Doctors that fit, at most ten."""
    weekend = None if weekend_hours is None else str(weekend_hours)
    wanted = {"city": city, "specialty": specialty, "weekend_hours": weekend}
    return database.search("doctors", _FOUND, wanted)


def make_appointment(
    database: Database, doctor_name: str, appointment_date: str, appointment_time: str
) -> list[Row]:
    """Make the appointment; a busy doctor offers the nearest free time of that day."""
    day, time = check_date(appointment_date), check_time(appointment_time)
    found = database.search("doctors", _FOUND, {"doctor_name": doctor_name})
    if not found:
        raise ToolError(f"there is no doctor {doctor_name!r}")
    doctor, name = found[0], found[0]["doctor_name"]
    if date.fromisoformat(day).weekday() >= 5 and doctor["weekend_hours"] == "False":
        raise UnavailableError(f"{name} is closed on weekends, and {day} is one")
    appointment = {**doctor, "appointment_date": day, "appointment_time": time}
    free = [other for other in _TIMES if _free(database, name, day, other)]
    if time not in free:
        near = sorted(free, key=lambda other: abs(minutes(other) - minutes(time)))[:1]
        raise UnavailableError(
            f"{name} has no time on {day} at {time}; free are: {', '.join(free) or 'none'}",
            [{**appointment, "appointment_time": other} for other in near],
        )
    reference = database.book("appointments", name, day, time)
    return [{**appointment, "reference_number": reference}]


def cancel_appointment(database: Database, reference_number: str) -> list[Row]:
    """Cancel the appointment."""
    columns = ("reference_number", "doctor_name", "appointment_date", "appointment_time")
    return database.cancel("appointments", columns, reference_number)


def _weekdays() -> list[str]:
    return [day for day in days() if date.fromisoformat(day).weekday() < 5]


def _free(database: Database, name: str, day: str, time: str) -> bool:
    return not database.number(
        "SELECT count(*) FROM appointments "
        "WHERE doctor_name = ? AND appointment_date = ? AND appointment_time = ?",
        name,
        day,
        time,
    )


TOOLS = {
    "SearchDoctors": search_doctors,
    "MakeAppointment": make_appointment,
    "CancelAppointment": cancel_appointment,
}
