from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from coalm.errors import DataError
from coalm.evals.multiwoz.database import Database
from coalm.evals.multiwoz.release import Release


@pytest.mark.parametrize(
    ("domain", "constraints", "names"),
    [
        ("restaurant", {}, ["golden lantern", "the blue door", "ask restaurant"]),
        ("restaurant", {"area": "centre", "pricerange": "cheap"}, "golden lantern|ask restaurant"),
        ("restaurant", {"food": "asian"}, "the blue door"),
        ("restaurant", {"food": "dontcare", "area": "north"}, "the blue door"),
        ("restaurant", {"area": "not mentioned", "pricerange": "expensive"}, "the blue door"),
        ("restaurant", {"day": "monday", "people": "2", "area": "north"}, "the blue door"),
        ("restaurant", {"signature": "soup", "area": "north"}, "the blue door"),
        ("restaurant", {"name": "golden lantern restaurant"}, "golden lantern"),
        ("restaurant", {"phone": "01223000001"}, "golden lantern"),
        ("restaurant", {"area": "west"}, ""),
        ("restaurant", {"area": "Centre"}, ""),
        ("attraction", {"area": "west"}, "point cinema"),
        ("attraction", {"entrancefee": "free"}, "king's hall|point cinema"),
        ("taxi", {}, ""),
    ],
)
def test_rows_that_meet_constraints(
    database: Database, domain: str, constraints: dict[str, str], names: str | list[str]
) -> None:
    expected = names.split("|") if isinstance(names, str) and names else list(names)
    assert [row["name"] for row in database.find(domain, constraints)] == expected


@pytest.mark.parametrize(
    ("constraints", "ids"),
    [
        ({"departure": "cambridge"}, ["TR0001", "TR0002"]),
        ({"arrive": "09:17"}, ["TR0001"]),
        ({"arrive": "24:30"}, ["TR0001", "TR0002", "TR0001"]),
        ({"leave": "09:30"}, ["TR0002", "TR0001"]),
        ({"leave": "soon"}, ["TR0001", "TR0002", "TR0001"]),
        ({"arrive": "soon"}, []),
        ({"trainid": "TR0001", "day": "sunday"}, ["TR0001"]),
    ],
)
def test_trains_by_time(database: Database, constraints: dict[str, str], ids: list[str]) -> None:
    assert [row["trainid"] for row in database.find("train", constraints)] == ids
    assert database.ids("train", constraints) == set(ids)


def test_a_domain_without_a_table_has_nothing(database: Database) -> None:
    assert database.ids("hospital", {}) == frozenset()
    assert list(database.rows("taxi")) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "hotel_db.json: expected rows that have a 'id'"),
        ('[{"name": "elm"}]', "hotel_db.json: expected rows that have a 'id'"),
        ('{"a": 1}', "hotel_db.json: Input should be a valid"),
        ("[{", "hotel_db.json: Invalid JSON"),
    ],
)
def test_a_broken_table_is_named(
    write_release: Callable[..., Path], text: str, message: str
) -> None:
    folder = write_release()
    (folder / "hotel_db.json").write_text(text)
    with pytest.raises(DataError) as caught:
        Database.load(Release(folder))
    assert message in str(caught.value)
