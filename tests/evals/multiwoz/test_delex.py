from __future__ import annotations

import pytest

from coalm.evals.multiwoz.database import Database
from coalm.evals.multiwoz.delex import Lexicon, Value, database_values, mentions, name_forms


@pytest.fixture
def lexicon(database: Database) -> Lexicon:
    """All venues, and the bookings of one dialogue."""
    booked = [Value("AB12CD34", "hotel_reference"), Value("5550001112", "taxi_phone")]
    return Lexicon(booked, Lexicon(database_values(database)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How about **Golden Lantern**?", "how about **[restaurant_name]**?"),
        ("The Golden Lantern's phone", "the [restaurant_name]'s phone"),
        ("Golden Lantern 's phone", "[restaurant_name] 's phone"),
        ("Blue Door it is", "[restaurant_name] it is"),
        ("Elm Guesthouse or River", "[hotel_name] or [hotel_name]"),
        ("Kings Hall, King's Hall", "[attraction_name], [attraction_name]"),
        ("King 's Hall", "[attraction_name]"),
        ("King’s Hall", "[attraction_name]"),
        ("May I ask you?", "may i ask you?"),
        ("Try Ask Restaurant", "try [restaurant_name]"),
        ("Call 01223 000 001.", "call [restaurant_phone]."),
        ("Call (01223) 000-011!", "call [hotel_phone]!"),
        ("Call 01 223 000012", "call [hotel_phone]"),
        ("2 rooms, 01223000011, 3 nights", "2 rooms, [hotel_phone], 3 nights"),
        ("CB1 1AA, cb 22 bb", "[restaurant_postcode], [restaurant_postcode]"),
        ("at 1 Mill Rd. City Centre", "at [restaurant_address]"),
        ("at 1 Mill Road City Centre", "at [restaurant_address]"),
        ("TR0002 leaves", "[train_id] leaves"),
        ("Reference: ab12cd34", "reference: [hotel_reference]"),
        ("Ref #AB12CD34, taxi 555-000-1112", "ref #[hotel_reference], taxi [taxi_phone]"),
        ("Reference XY99ZZ00", "reference xy99zz00"),
        ("nothing here", "nothing here"),
        ("", ""),
    ],
)
def test_values_become_placeholders(lexicon: Lexicon, text: str, expected: str) -> None:
    assert lexicon.replace(text) == expected


def test_the_longest_value_is_taken() -> None:
    values = [Value("pizza hut", "a"), Value("pizza hut city centre", "b"), Value("centre", "c")]
    lexicon = Lexicon(values)
    assert lexicon.replace("Pizza Hut City Centre in the centre") == "[b] in the [c]"
    assert lexicon.meanings("pizza hut city, pizza hut city centre") == ["a", "b"]


def test_own_values_come_before_those_of_the_base() -> None:
    base = Lexicon([Value("12", "old"), Value("34", "other")])
    assert Lexicon([Value("12", "new")], base).replace("12 34") == "[new] [other]"


def test_values_without_words_are_passed_over() -> None:
    assert Lexicon([Value("?", "nothing"), Value("", "nothing")]).replace("what?") == "what?"


def test_names_have_short_forms_unless_these_are_common_words() -> None:
    assert set(name_forms("the river hotel")) == {"the river hotel", "river hotel", "river"}
    assert set(name_forms("ask restaurant")) == {"ask restaurant"}
    assert set(name_forms("the place")) == {"the place"}


@pytest.mark.parametrize(
    ("texts", "value", "expected"),
    [
        (["It is at CB1 1AA."], "cb11aa", True),
        (["no", "the Queens' College"], "queens' college", True),
        (["4.40 pounds each"], "4.40 pounds", True),
        (["14.40 pounds each"], "4.40 pounds", False),
        (["a b"], "", False),
        ([], "a", False),
    ],
)
def test_mentions(texts: list[str], value: str, expected: bool) -> None:
    assert mentions(texts, value) is expected
