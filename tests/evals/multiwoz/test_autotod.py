from __future__ import annotations

import pytest

from coalm.evals.multiwoz.autotod import (
    NOT_TOLD,
    Answers,
    Booking,
    Exchange,
    Outcome,
    Transcript,
    check_answers,
    check_transcript,
    find_answers,
    find_venue,
    plain_name,
)
from coalm.evals.multiwoz.data import DomainGoal
from coalm.evals.multiwoz.database import Database

FOOD = DomainGoal(
    info={"food": "chinese"},
    fail_info={"food": "italian"},
    reqt=("phone", "postcode"),
    book={"people": "2", "day": "monday", "time": "18:00", "invalid": False},
    fail_book={"time": "19:00"},
)
TABLE = Booking(
    "restaurant",
    "ab12cd34",
    {"name": "golden lantern", "people": "2", "day": "monday", "time": "18:00"},
)
PHONE = {"phone": "01223 000001", "postcode": "CB1 1AA"}
RIDE = {"departure": "cambridge", "destination": "ely", "day": "monday", "arriveBy": "10:00"}
TAXI = DomainGoal(info={"leaveAt": "9:00", "departure": "a"}, reqt=("car type", "phone"))


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        (Answers("Golden Lantern", "ab12cd34", PHONE), (True, True, True)),
        (Answers("The Golden Lantern Restaurant", "ab12cd34", PHONE), (True, True, True)),
        (Answers("Golden Lantern", "wrong", {**PHONE, "phone": "1"}), (True, False, False)),
        (Answers("Golden Lantern", "ab12cd34", {"phone": NOT_TOLD}), (True, False, True)),
        (Answers("Golden Lantern", "ab12cd34", {"phone": "none"}), (True, True, True)),
        (Answers("Blue Door", "ab12cd34", PHONE), (False, False, False)),
        (Answers("Nowhere", "ab12cd34", PHONE), (False, False, False)),
        (Answers("Ask", "ab12cd34", {"postcode": "cb33cc"}), (True, True, False)),
    ],
)
def test_answers_about_a_venue(
    database: Database, answers: Answers, outcome: tuple[bool, bool, bool]
) -> None:
    assert check_answers("restaurant", FOOD, answers, database, [TABLE]) == Outcome(*outcome)


@pytest.mark.parametrize(
    ("changes", "book"),
    [({}, True), ({"time": "19:00", "people": "9"}, True), ({"people": "9"}, False)],
)
def test_the_second_try_of_a_booking_counts(
    database: Database, changes: dict[str, str], book: bool
) -> None:
    made = TABLE._replace(details={**TABLE.details, **changes})
    answers = Answers("golden lantern", "ab12cd34")
    assert check_answers("restaurant", FOOD, answers, database, [made]).book is book


def test_what_the_goal_does_not_ask_for_has_no_verdict(database: Database) -> None:
    goal = DomainGoal(info={"type": "college"})
    outcome = check_answers("attraction", goal, Answers("king's hall"), database, [])
    assert outcome == Outcome(inform=True, success=None, book=None)
    assert outcome.combined == 1.0


@pytest.mark.parametrize(
    ("outcome", "combined"),
    [
        (Outcome(True, True, None), 1.0),
        (Outcome(True, False, None), 0.5),
        (Outcome(True, True, False), 0.75),
        (Outcome(False, None, False), 0.0),
    ],
)
def test_combined_scores(outcome: Outcome, combined: float) -> None:
    assert outcome.combined == combined


@pytest.mark.parametrize(
    ("values", "right"),
    [
        ({"trainID": "TR0001", "price": "4.40 pounds"}, True),
        ({"trainID": "tr0001"}, True),
        ({"trainID": "TR0002"}, False),
        ({"trainID": "none"}, False),
    ],
)
def test_answers_about_a_train(database: Database, values: dict[str, str], right: bool) -> None:
    goal = DomainGoal(info=RIDE, reqt=("trainID", "price"))
    outcome = check_answers("train", goal, Answers(values=values), database, [])
    assert outcome == Outcome(right, right, None)


@pytest.mark.parametrize(
    ("details", "outcome"),
    [
        ({"trainid": "tr0001", "people": "3"}, Outcome(True, None, True)),
        ({"trainid": "tr0001", "people": "1"}, Outcome(True, None, False)),
        ({"trainid": "tr0002", "people": "3"}, Outcome(False, None, False)),
    ],
)
def test_a_booked_train(database: Database, details: dict[str, str], outcome: Outcome) -> None:
    goal = DomainGoal(info=RIDE, book={"people": "3"})
    made = [Booking("train", "r1", details)]
    assert check_answers("train", goal, Answers(reference="r1"), database, made) == outcome
    assert not check_answers("train", goal, Answers(reference="r2"), database, made).inform


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ({"leaveAt": "9:00", "departure": "A", "car type": "red", "phone": "1"}, (True, True)),
        ({"leaveAt": "9:00", "departure": "A", "car type": "red", "phone": "none"}, (True, False)),
        ({"departure": "A", "car type": "red", "phone": "1"}, (False, False)),
    ],
)
def test_answers_about_a_taxi(
    database: Database, values: dict[str, str], outcome: tuple[bool, bool]
) -> None:
    found = check_answers("taxi", TAXI, Answers(values=values), database, [])
    assert found == Outcome(*outcome, None)


def transcript(*responses: str, bookings: tuple[Booking, ...] = ()) -> Transcript:
    return Transcript([Exchange("and?", response) for response in responses], bookings)


def test_a_dialogue_is_judged_without_a_judge(database: Database) -> None:
    good = transcript(
        "Golden Lantern, CB1 1AA, phone 01223 000001.",
        "Booked, your reference is AB12CD34.",
        bookings=(TABLE,),
    )
    assert check_transcript({"restaurant": FOOD}, good, database) == {
        "restaurant": Outcome(True, True, True)
    }
    silent = transcript("Golden Lantern.", "Booked.", bookings=(TABLE,))
    assert check_transcript({"restaurant": FOOD}, silent, database) == {
        "restaurant": Outcome(True, False, False)
    }


def test_the_venue_is_the_one_booked_else_the_one_named_alone(database: Database) -> None:
    goal = DomainGoal(info={"area": "centre"})
    listed = transcript("Golden Lantern it is.", "Or the Blue Door and Ask Restaurant?")
    assert find_answers("restaurant", goal, listed, database).venue == "golden lantern"
    only_listed = transcript("Golden Lantern, or the Blue Door?")
    assert find_answers("restaurant", goal, only_listed, database).venue == "the blue door"
    chosen = Transcript([Exchange("Blue Door!", "Fine.")], [])
    assert find_answers("restaurant", goal, chosen, database).venue == "the blue door"
    booked = listed._replace(bookings=[TABLE._replace(details={"name": "ask restaurant"})])
    assert find_answers("restaurant", goal, booked, database).venue == "ask restaurant"
    assert find_answers("restaurant", goal, transcript("Hello."), database).venue == NOT_TOLD


def test_what_was_told_of_a_venue(database: Database) -> None:
    goal = DomainGoal(reqt=("internet", "parking", "stars", "address"))
    said = transcript("Elm Guest House has free wifi and 4 stars.")
    assert find_answers("hotel", goal, said, database).values == {
        "internet": "yes",
        "parking": NOT_TOLD,
        "stars": "4",
        "address": NOT_TOLD,
    }


def test_what_was_told_of_a_train(database: Database) -> None:
    goal = DomainGoal(info={**RIDE, "arriveBy": "24:30"}, reqt=("trainID", "duration"))
    said = transcript("TR0002 takes 17 min.")
    assert find_answers("train", goal, said, database).values == {
        "trainID": "TR0002",
        "duration": "17 min",
    }
    impossible = DomainGoal(info={**RIDE, "day": "friday"}, reqt=("trainID",))
    assert find_answers("train", impossible, said, database).values == {"trainID": NOT_TOLD}


def test_a_taxi_is_judged_by_its_booking(database: Database) -> None:
    details = {"leave": "9:00", "departure": "a", "type": "red ford", "phone": "5550001112"}
    ride = Booking("taxi", "", details)
    told = transcript("A red Ford, call 555 000 1112.", bookings=(ride,))
    assert check_transcript({"taxi": TAXI}, told, database)["taxi"] == Outcome(True, True, None)
    untold = transcript("A red Ford comes.", bookings=(ride,))
    assert check_transcript({"taxi": TAXI}, untold, database)["taxi"] == Outcome(True, False, None)
    none = check_transcript({"taxi": TAXI}, transcript("A red Ford comes."), database)
    assert none["taxi"] == Outcome(False, False, None)


def test_names_are_compared_without_the_and_hotel(database: Database) -> None:
    assert plain_name(" The Gonville Hotel") == "gonville"
    assert plain_name("theatre royal") == "theatre royal"
    row = find_venue(database, "hotel", "River")
    assert row is not None
    assert row["id"] == "2"
    assert find_venue(database, "hotel", "ocean") is None
