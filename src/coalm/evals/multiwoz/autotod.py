"""AutoTOD's checks of a dialogue, without its judge.

AutoTOD (DaDaMrX/AutoTOD, `evaluate.py`) lets a language model read the dialogue and say which venue
the user took, under which reference number, and what he was told; code then compares that with the
database and the booking table. `check_answers` is that comparison. `find_answers` takes the judge's
place: what was booked stands in the records of the agent's own tools, and a value counts as told
when a response names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from pydantic import JsonValue

from coalm.evals.multiwoz.data import DomainGoal
from coalm.evals.multiwoz.database import Database, Row
from coalm.evals.multiwoz.delex import Lexicon, Value, mentions, name_forms
from coalm.evals.multiwoz.normalize import evaluator_slot, evaluator_value

NOT_TOLD = "not told"
"""Stands for a value that the user asked for and did not get."""

_JUDGE_SKIPS = frozenset({"", "dontcare", "none", "not mentioned"})
"""Values of a venue that AutoTOD lets pass, also where its judge found no answer (`none`)."""
_NO_TAXI_ANSWER = frozenset({"none", NOT_TOLD})
_UNKNOWN = "dontcare"
_YES_NO_WORDS = {"internet": ("internet", "wifi", "wi fi"), "parking": ("parking",)}


class Booking(NamedTuple):
    """A booking that a tool made."""

    domain: str
    reference: str
    """Empty for a taxi."""
    details: Mapping[str, str]
    """`name` or `trainid`, `people`, `day`, ...; of a taxi also `type` and `phone`."""


class Exchange(NamedTuple):
    """What the user said and what the agent answered."""

    user: str
    response: str


class Transcript(NamedTuple):
    """What happened in a dialogue."""

    exchanges: Sequence[Exchange]
    bookings: Sequence[Booking]
    """In the order in which they were made."""

    @property
    def said(self) -> list[str]:
        """The agent's responses."""
        return [exchange.response for exchange in self.exchanges]


class Answers(NamedTuple):
    """What a reader of the dialogue knows about one domain."""

    venue: str = NOT_TOLD
    """The venue that the user took or asked about."""
    reference: str = NOT_TOLD
    values: Mapping[str, str] = {}
    """What the user wanted to know (`reqt`), and of a taxi also what he wanted (`info`)."""


class Outcome(NamedTuple):
    """The verdict on one domain; None where the goal asks for nothing of the kind."""

    inform: bool
    success: bool | None
    book: bool | None

    @property
    def combined(self) -> float:
        """Half inform, half the mean of success and book as far as there are any."""
        rest = [flag for flag in (self.success, self.book) if flag is not None] or [self.inform]
        return 0.5 * self.inform + 0.5 * sum(rest) / len(rest)


def check_transcript(
    goal: Mapping[str, DomainGoal], transcript: Transcript, database: Database
) -> dict[str, Outcome]:
    """The verdict on every domain of the goal, from responses and bookings alone."""
    return {
        domain: check_answers(
            domain,
            wish,
            find_answers(domain, wish, transcript, database),
            database,
            transcript.bookings,
        )
        for domain, wish in goal.items()
    }


def check_answers(
    domain: str,
    goal: DomainGoal,
    answers: Answers,
    database: Database,
    bookings: Iterable[Booking],
) -> Outcome:
    """Compare what a reader knows with the goal, the database and the bookings."""
    made = {booking.reference: booking for booking in bookings if booking.domain == domain}
    booking = made.get(answers.reference)
    if domain == "taxi":
        return _check_taxi(goal, answers)
    if domain == "train":
        return _check_train(goal, answers, booking, database)
    row = find_venue(database, domain, answers.venue)
    inform = row is not None and (_fits(row, goal.info) or _is_second_best(row, goal.fail_info))
    told = row is not None and inform and _fits(row, answers.values)
    return Outcome(
        inform,
        told if goal.reqt else None,
        _is_booked(row, goal, booking) if inform and goal.book else False if goal.book else None,
    )


def _check_train(
    goal: DomainGoal, answers: Answers, booking: Booking | None, database: Database
) -> Outcome:
    fitting = [row for row in database.rows("train") if _fits(row, goal.info)]
    if not goal.book:
        told = any(_fits(row, answers.values) for row in fitting)
        return Outcome(told, told if goal.reqt else None, None)
    if booking is None:
        return Outcome(inform=False, success=None, book=False)
    train = booking.details.get("trainid", "").lower()
    inform = any(row["trainid"].lower() == train for row in fitting)
    people = booking.details.get("people")
    return Outcome(inform, None, inform and people == goal.book.get("people"))


def _check_taxi(goal: DomainGoal, answers: Answers) -> Outcome:
    values = answers.values
    inform = all(
        values.get(slot, NOT_TOLD).lower() == value.lower() for slot, value in goal.info.items()
    )
    told = all(values.get(slot, NOT_TOLD) not in _NO_TAXI_ANSWER for slot in goal.reqt)
    return Outcome(inform, inform and told if goal.reqt else None, None)


def _is_booked(row: Row | None, goal: DomainGoal, booking: Booking | None) -> bool:
    if row is None or booking is None or goal.book is None:
        return False
    details = booking.details
    return plain_name(details.get("name", "")) == plain_name(row["name"]) and (
        _fits(details, _texts(goal.book)) or _is_second_best(details, _texts(goal.fail_book))
    )


def _is_second_best(row: Row, wanted: Mapping[str, str]) -> bool:
    return bool(wanted) and _fits(row, wanted)


def _fits(row: Row, wanted: Mapping[str, str]) -> bool:
    """Whether a row, or a booking, has all the wanted values."""
    return all(_has(row, evaluator_slot(slot), value) for slot, value in wanted.items())


def _has(row: Row, slot: str, value: str) -> bool:
    value = value.strip().lower()
    if value in _JUDGE_SKIPS:
        return "trainid" not in row
    cell = row.get(slot, "").lower()
    if slot == "name":
        return plain_name(cell) == plain_name(value)
    if slot in ("phone", "postcode"):
        return cell == value.replace(" ", "")
    if slot == "address":
        return bool(cell) and cell in value
    if slot == "leave":
        return cell >= value
    if slot == "arrive":
        return cell <= value
    return cell == value or evaluator_value(slot, cell) == evaluator_value(slot, value)


def _texts(values: Mapping[str, JsonValue]) -> dict[str, str]:
    """Booking constraints without the flags among them (`invalid`, `pre_invalid`)."""
    return {slot: value for slot, value in values.items() if isinstance(value, str)}


def find_venue(database: Database, domain: str, name: str) -> Row | None:
    """The venue of that name, with or without `the`, `hotel` and `restaurant`."""
    wanted = plain_name(name)
    return next((r for r in database.rows(domain) if plain_name(r["name"]) == wanted), None)


def plain_name(name: str) -> str:
    """A name in lower case without `the` before and `hotel` or `restaurant` after it."""
    return re.sub(r"^the | (?:hotel|restaurant)$", "", name.strip().lower()).strip()


def find_answers(
    domain: str, goal: DomainGoal, transcript: Transcript, database: Database
) -> Answers:
    """What a reader of responses and bookings knows about one domain."""
    made = [booking for booking in transcript.bookings if booking.domain == domain]
    if domain == "taxi":
        return Answers(values=_taxi_values(goal, transcript, made[-1] if made else None))
    said = [booking for booking in made if mentions(transcript.said, booking.reference)]
    reference = said[-1].reference if said else NOT_TOLD
    if domain == "train":
        return Answers(reference=reference, values=_train_values(goal, transcript, database))
    booked = (said or made)[-1].details.get("name", "") if made else None
    venue = booked or _last_named(domain, transcript, database)
    row = find_venue(database, domain, venue)
    told = {slot: _told(row, slot, transcript.said) for slot in goal.reqt}
    return Answers(venue, reference, told)


def _last_named(domain: str, transcript: Transcript, database: Database) -> str:
    """The venue that was last named alone, by either side; else the last one named at all."""
    names = _venue_names(domain, database)
    texts = [text for exchange in transcript.exchanges for text in exchange]
    named = [names.meanings(text) for text in reversed(texts)]
    alone = (found[0] for found in named if len(set(found)) == 1)
    anyhow = (found[-1] for found in named if found)
    return next(alone, None) or next(anyhow, NOT_TOLD)


@cache
def _venue_names(domain: str, database: Database) -> Lexicon:
    names = (row["name"] for row in database.rows(domain))
    return Lexicon(Value(form, name) for name in names for form in name_forms(name))


def _told(row: Row | None, slot: str, said: Sequence[str]) -> str:
    """The value of a column if a response names it; what nobody knows need not be told."""
    value = row.get(evaluator_slot(slot), "") if row else ""
    if value == "?":
        return _UNKNOWN
    words = _YES_NO_WORDS.get(slot, (value,))
    return value if any(mentions(said, word) for word in words) else NOT_TOLD


def _train_values(
    goal: DomainGoal, transcript: Transcript, database: Database
) -> Mapping[str, str]:
    """What was told of a train that fits the goal, of the one of which most was told."""
    fitting = [row for row in database.rows("train") if _fits(row, goal.info)]
    told = [{slot: _told(row, slot, transcript.said) for slot in goal.reqt} for row in fitting]
    untold = dict.fromkeys(goal.reqt, NOT_TOLD)
    return min(told, key=lambda values: list(values.values()).count(NOT_TOLD), default=untold)


def _taxi_values(
    goal: DomainGoal, transcript: Transcript, booking: Booking | None
) -> dict[str, str]:
    if booking is None:
        return {}
    details = booking.details
    wanted = {slot: details.get(evaluator_slot(slot), NOT_TOLD) for slot in goal.info}
    columns = {"car type": "type", "phone": "phone"}
    answers = {slot: details.get(columns.get(slot, slot), "") for slot in goal.reqt}
    return wanted | {
        slot: value if mentions(transcript.said, value) else NOT_TOLD
        for slot, value in answers.items()
    }
