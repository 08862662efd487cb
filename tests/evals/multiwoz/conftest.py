"""A made-up release of MultiWOZ: three dialogues, a few venues and trains."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from coalm.evals.multiwoz.data import Corpus, load_corpus
from coalm.evals.multiwoz.database import Database
from coalm.evals.multiwoz.release import Release

TABLES: dict[str, list[dict[str, Any]]] = {
    "restaurant": [
        {"id": "1", "name": "golden lantern", "food": "chinese", "area": "centre"}
        | {"pricerange": "cheap", "phone": "01223000001", "postcode": "cb11aa"}
        | {"address": "1 Mill Road City Centre", "type": "restaurant", "location": [1, 2]},
        {"id": "2", "name": "the blue door", "food": "asian oriental", "area": "north"}
        | {"pricerange": "expensive", "postcode": "cb22bb", "address": "2 High Street"}
        | {"type": "restaurant", "signature": "soup"},
        {"id": "3", "name": "ask restaurant", "food": "italian", "area": "centre"}
        | {"pricerange": "cheap", "phone": "01223000003", "postcode": "cb33cc"}
        | {"address": "3 Bridge Street", "type": "restaurant"},
    ],
    "hotel": [
        {"id": "1", "name": "elm guest house", "type": "guesthouse", "area": "east"}
        | {"stars": "4", "internet": "yes", "parking": "no", "pricerange": "cheap"}
        | {"phone": "01223000011", "postcode": "cb44dd", "address": "4 elm road"}
        | {"price": {"single": "50"}, "takesbookings": "yes"},
        {"id": "2", "name": "river hotel", "type": "hotel", "area": "west"}
        | {"stars": "3", "internet": "yes", "parking": "yes", "pricerange": "expensive"}
        | {"phone": "01223000012", "postcode": "cb55ee", "address": "5 river lane"},
    ],
    "attraction": [
        {"id": "1", "name": "king's hall", "type": "college", "area": "centre"}
        | {"phone": "01223000021", "postcode": "cb66ff", "address": "king's lane"}
        | {"entrance fee": "free", "pricerange": "free", "openhours": "all day"},
        {"id": "2", "name": "point cinema", "type": "cinema", "area": "?"}
        | {"phone": "01223000022", "postcode": "cb77gg", "address": "point street"}
        | {"entrance fee": "?", "pricerange": "?", "openhours": "?"},
    ],
    "train": [
        {"trainID": "TR0001", "day": "monday", "departure": "cambridge", "destination": "ely"}
        | {"leaveAt": "09:00", "arriveBy": "09:17", "price": "4.40 pounds", "duration": "17 min"},
        {"trainID": "TR0002", "day": "monday", "departure": "cambridge", "destination": "ely"}
        | {"leaveAt": "23:50", "arriveBy": "24:07", "price": "4.40 pounds", "duration": "17 min"},
        {"trainID": "TR0001", "day": "sunday", "departure": "ely", "destination": "cambridge"}
        | {"leaveAt": "10:00", "arriveBy": "10:17", "price": "4.40 pounds", "duration": "17 min"},
    ],
}
SLOTS: dict[str, tuple[list[str], list[str]]] = {
    "taxi": (["leaveAt", "destination", "departure", "arriveBy"], []),
    "police": ([], []),
    "restaurant": (["food", "pricerange", "name", "area"], ["people", "day", "time"]),
    "hotel": (
        ["name", "area", "parking", "pricerange", "stars", "internet", "type"],
        ["people", "day", "stay"],
    ),
    "attraction": (["type", "name", "area"], []),
    "train": (["leaveAt", "destination", "day", "arriveBy", "departure"], ["people"]),
}
"""Domain to search and booking slots, as in the release."""


def metadata(
    state: Mapping[str, Mapping[str, str]], booked: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """The annotation of a system turn; slots of an unused domain are empty."""
    found: dict[str, Any] = {}
    for domain, (search, book) in SLOTS.items():
        slots = state.get(domain, {})
        empty = "not mentioned" if slots else ""
        made = [dict(booked[domain])] if domain in booked else []
        found[domain] = {
            "book": {"booked": made, **{slot: slots.get(f"book {slot}", "") for slot in book}},
            "semi": {slot: slots.get(slot, empty) for slot in search},
        }
    return found


def turns(*rows: tuple[str, str, Mapping[str, Any], Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A log: user text, system text, state, bookings for each pair of entries."""
    log: list[dict[str, Any]] = []
    for user, system, state, booked in rows:
        log.append({"text": user, "metadata": {}})
        log.append({"text": system, "metadata": metadata(state, booked)})
    return log


CHINESE = {"restaurant": {"food": "chinese", "area": "dont care"}}
TABLE = {"restaurant": {**CHINESE["restaurant"], "book people": "2", "book day": "monday"}}
GUESTS = {**TABLE, "hotel": {"type": "guest house", "area": "east|west"}}
RIDE = {"train": {"departure": "cambridge", "destination": "ely", "day": "monday"}}
DATA: dict[str, Any] = {
    "MUL0001.json": {
        "goal": {
            "restaurant": {
                "info": {"food": "chinese"},
                "reqt": ["phone", "area"],
                "fail_info": {},
                "book": {"people": "2", "day": "monday", "time": "18:00", "invalid": False},
                "fail_book": {},
            },
            "hotel": {"info": {"type": "guesthouse"}, "reqt": ["postcode"], "fail_info": {}},
            "taxi": {},
            "topic": {"taxi": False},
            "message": ["You want Chinese food", "You want a guesthouse"],
        },
        "log": turns(
            ("I want Chinese food.", "Golden Lantern is nice .", CHINESE, {}),
            (
                "Book it for 2 on Monday.",
                "Done , the reference number is AB12CD34 .",
                TABLE,
                {"restaurant": {"name": "golden lantern", "reference": "AB12CD34"}},
            ),
            (
                "And a guesthouse.",
                "Elm Guest House , cb44dd .",
                GUESTS,
                {"restaurant": {"name": "golden lantern", "reference": "AB12CD34"}},
            ),
        ),
    },
    "SNG0002.json": {
        "goal": {
            "train": {
                "info": {
                    "departure": "cambridge",
                    "destination": "ely",
                    "day": "monday",
                    "arriveBy": "10:00",
                },
                "reqt": ["trainID", "price"],
                "fail_info": {},
            },
            "message": "Task 12345: You want a train.",
        },
        "log": turns(
            (
                "A train to Ely on Monday, before 10:00.",
                "TR0001 leaves at 09:00 .",
                {"train": {**RIDE["train"], "arriveBy": "10:00"}},
                {},
            ),
            ("Thanks!", "Bye !", {"train": {**RIDE["train"], "arriveBy": "10:00"}}, {}),
        ),
    },
    "SNG0003.json": {
        "goal": {"attraction": {"info": {"type": "college"}, "reqt": [], "fail_info": {}}},
        "log": turns(("A college ?", "word " * 51, {"attraction": {"type": "college"}}, {})),
    },
}
DATA["MUL0001.json"]["log"][5]["span_info"] = [
    ["Hotel-Inform", "Name", "Elm Guest House", 0, 2],
    ["Hotel-Inform", "Post", "cb44dd", 4, 4],
    ["Hotel-Inform", "Area", "dontcare", 0, 0],
]

Write = Callable[..., Path]


@pytest.fixture
def write_release(tmp_path: Path) -> Write:
    """Writes a release into a folder; `data` and `names` replace the made-up ones."""

    def write(
        folder: Path = tmp_path / "MULTIWOZ2.4",
        data: Mapping[str, Any] = DATA,
        names: Sequence[str] | None = None,
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data.json").write_text(json.dumps(data))
        (folder / "testListFile.json").write_text("\n".join(data if names is None else names))
        for domain, rows in TABLES.items():
            (folder / f"{domain}_db.json").write_text(json.dumps(rows))
        return folder

    return write


@pytest.fixture
def release(write_release: Write) -> Release:
    """The made-up release."""
    return Release(write_release())


@pytest.fixture
def corpus(release: Release) -> Corpus:
    """Its dialogues."""
    return load_corpus(release)


@pytest.fixture
def database(release: Release) -> Database:
    """Its tables."""
    return Database.load(release)


@pytest.fixture
def data() -> dict[str, Any]:
    """A copy of the made-up dialogues, to be changed by a test."""
    return copy.deepcopy(DATA)
