from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from coalm.data.base import Ledger
from coalm.data.files import Copy
from coalm.data.offers import Distractors
from coalm.data.sgd_functions import Catalogue, Key, typed
from coalm.data.sgd_records import SgdFiles

FIXTURE = Path(__file__).parents[1] / "fixtures" / "sgd"
SERVICES = SgdFiles(Copy(FIXTURE), "train", Ledger()).services
ALL = {
    *("FindTable", "BookTable", "FindSong", "Rooms_1_FindRoom", "Flats_1_FindRoom"),
    *("FindBus", "FindCoach"),
}


def offered(distractors: int | None, *services: str) -> list[str]:
    numbers = None if distractors is None else Distractors(distractors, distractors)
    offer = Catalogue(SERVICES, numbers, 7).offer(services, "1_00000")
    return [tool.name for tool in offer.tools]


def test_own_functions_are_those_of_the_services_of_the_dialogue() -> None:
    assert sorted(offered(0, "Tables_1")) == ["BookTable", "FindTable"]
    assert sorted(offered(0, "Tables_1", "Tunes_1")) == ["BookTable", "FindSong", "FindTable"]


def test_a_name_carries_its_service_only_where_two_would_be_the_same() -> None:
    assert sorted(offered(0, "Rooms_1", "Flats_1")) == ["Flats_1_FindRoom", "Rooms_1_FindRoom"]
    assert offered(0, "Rooms_1") == ["FindRoom"]
    assert set(offered(None, "Rooms_1")) == ALL


def test_distractors_never_do_the_job_of_the_dialogue() -> None:
    # Trips_2 is another bus service, Flats_1 has an intent of the same name
    assert "FindCoach" not in offered(20, "Trips_1")
    assert len([name for name in offered(20, "Rooms_1") if name.endswith("FindRoom")]) == 1


def test_distractors_differ_between_dialogues_and_stand_anywhere() -> None:
    catalogue = Catalogue(SERVICES, Distractors(1, 1), 7)
    places: Counter[int] = Counter()
    extra: Counter[str] = Counter()
    for number in range(300):
        offer = catalogue.offer(["Tables_1"], f"1_{number:05}")
        names = [tool.name for tool in offer.tools]
        (other,) = set(names) - {"FindTable", "BookTable"}
        extra[other] += 1
        places[names.index(other)] += 1
    assert extra.keys() == {"FindSong", "FindRoom", "FindBus", "FindCoach"}
    assert min(places[0], places[1], places[2]) > 60


def test_the_seed_changes_the_choice() -> None:
    talks = [f"1_{number:05}" for number in range(20)]
    first, again, other = (
        [
            Catalogue(SERVICES, Distractors(1, 1), seed).offer(["Tables_1"], talk).tools
            for talk in talks
        ]
        for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


def test_a_schema_has_types_enums_and_defaults_where_sgd_says_so() -> None:
    offer = Catalogue(SERVICES, Distractors(0, 0), 7).offer(["Tables_1"], "1_00000")
    find = offer.by_key[Key("Tables_1", "FindTable")]
    assert (find.description, find.required) == ("Find a place to eat", ("city", "cuisine"))
    assert find.properties == {
        "city": {"type": "string", "description": "Town of the place"},
        "cuisine": {
            "type": "string",
            "description": "Kind of food",
            "examples": ["Greek", "Thai"],
        },
        "price": {"type": "string", "description": "How dear it is", "enum": ["cheap", "dear"]},
        "outdoor": {"type": "boolean", "description": "Whether one can sit outside"},
    }
    book = offer.by_key[Key("Tables_1", "BookTable")].properties
    assert book["guests"] == {
        "type": "integer",
        "description": "How many people",
        "enum": [1, 2, 3, 4],
        "default": 2,
    }
    assert book["date"]["default"] == "2019-03-01"


def test_a_slot_that_the_schema_forgets_to_describe_is_text() -> None:
    service = SERVICES["Tunes_1"].model_copy(update={"slots": []})
    offer = Catalogue({"Tunes_1": service}, Distractors(0, 0), 7).offer(["Tunes_1"], "1_00000")
    assert offer.tools[0].properties == {"genre": {"type": "string"}}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("boolean", "True", True),
        ("boolean", "False", False),
        ("integer", "3", 3),
        ("integer", "many", "many"),
        ("string", "3", "3"),
    ],
)
def test_values_get_the_type_of_the_slot(kind: str, text: str, value: object) -> None:
    assert typed(kind, text) == value
