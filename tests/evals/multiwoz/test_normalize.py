from __future__ import annotations

import pytest

from coalm.evals.multiwoz.normalize import (
    evaluator_slot,
    evaluator_value,
    fair_slot,
    fair_value,
    gold_text,
    helper_value,
    join_digits,
    minutes,
)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("9", "09:00"),
        ("9:00", "09:00"),
        ("17:15", "17:15"),
        ("1715", "17:15"),
        ("17 : 15", "17:15"),
        ("17:15.", "17:15"),
        ("5:45pm", "17:45"),
        ("5:45 p.m.", "17:45"),
        ("5 pm", "17:00"),
        ("10 am", "10:00"),
        ("quarter pm", "quarter"),
        ("12:30pm", "24:30"),
        ("after 9", "09:00"),
        ("afer 9", "09:00"),
        ("by 17:00", "17:00"),
        ("noon", "12:00"),
        ("lunch", "12:00"),
        ("morning", "08:00"),
        ("afternoon", "13:00"),
        ("one o'clock p.m. sharp", "13:00"),
        ("", "00:00"),
        ("dontcare", "dontcare"),
        ("4:5:6pm", "4:5:6"),
    ],
)
def test_times_are_read_as_the_evaluator_does(text: str, time: str) -> None:
    assert evaluator_value("leave", text) == evaluator_value("arriveby", text) == time


@pytest.mark.parametrize(
    ("slot", "value", "expected"),
    [
        ("type", "guest house", "guesthouse"),
        ("type", "night club", "nightclub"),
        ("type", "concert hall", "concert hall"),
        ("type", "Guest House", "Guest House"),
        ("food", " Portugese ", "portuguese"),
        ("food", "english", "british"),
        ("food", "modern american", "north american"),
        ("name", "Christ College", "christ's college"),
        ("name", "the junction", "junction theatre"),
        ("name", "fish&chips", "fish and chips"),
        ("destination", "king 's hall", "king's hall"),
        ("internet", "free", "yes"),
        ("parking", "no", "no"),
        ("area", "Center", "Center"),
    ],
)
def test_values_are_read_as_the_evaluator_does(slot: str, value: str, expected: str) -> None:
    assert evaluator_value(slot, value) == expected


def test_the_helper_spells_bed_and_breakfast_in_its_own_way() -> None:
    assert evaluator_value("name", "elm bed and breakfast") == "elm bed and breakfast"
    assert helper_value("name", "elm bed and breakfast") == "elm b and b"
    assert helper_value("name", "acorn guesthouse") == "acorn guest house"
    assert helper_value("type", "guest house") == "guesthouse"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("restaurant one seven", "restaurant 17"),
        ("restaurant two two", "restaurant 2 two"),
        ("gallery at twelve a high street", "gallery at 12 a high street"),
        ("a b&b", "a bed and breakfast"),
        ("guesthouse", "guest house"),
        ("21:00>20:00", "21:00|20:00"),
        ("alpha-milton", "alpha milton"),
        ("museum/college", "museum and college"),
        ('the "inn" (old)', "the inn old"),
        ("saint john's college", "saint john s college"),
        ("queens' college", "queens college"),
        ("no. 5, high street", "no . 5 , high street"),
        ("4.50 pounds", "4.50 pounds"),
        (" Centre ", "centre"),
    ],
)
def test_gold_values_go_through_the_preprocessing(value: str, expected: str) -> None:
    assert gold_text(value) == expected


def test_only_numbers_are_joined() -> None:
    assert join_digits(["a", "1", "7", "b2", "3", "4"]) == "a 17 b2 34"


def test_the_evaluator_knows_few_slot_names() -> None:
    assert [evaluator_slot(name) for name in ("arrive By", "leaveAt", "Price Range")] == [
        "arrive",
        "leave",
        "pricerange",
    ]
    assert evaluator_slot("book day") == "bookday"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("price range", "pricerange"),
        ("price_range", "pricerange"),
        ("arrive by", "arrive"),
        ("leaveAt", "leave"),
        ("book_day", "day"),
        ("bookstay", "stay"),
        ("stay", "stay"),
    ],
)
def test_fair_slot_names(name: str, expected: str) -> None:
    assert fair_slot(name) == expected


@pytest.mark.parametrize(
    ("slot", "one", "other"),
    [
        ("name", "The Acorn Guesthouse", "acorn guest house"),
        ("name", "pizza hut fenditton", "pizza hut fen ditton"),
        ("name", "christ college", "christ's college"),
        ("name", "churchills college", "churchill's college"),
        ("name", "elm b&b", "elm bed and breakfast"),
        ("name", "restaurant 17", "restaurant one seven"),
        ("name", "gallery at 12", "gallery at twelve"),
        ("name", "gonville", "gonville hotel"),
        ("type", "swimmingpool", "swimming pool"),
        ("type", "mutliple sports", "multiple sports"),
        ("parking", "free", "yes"),
        ("area", "center", "centre"),
        ("people", "two", "2"),
        ("leave", "9:00", "09:00"),
        ("food", "portugese", "portuguese"),
        ("area", "don't care", "dontcare"),
    ],
)
def test_spelling_does_not_matter_to_the_fair_rule(slot: str, one: str, other: str) -> None:
    assert fair_value(slot, one) == fair_value(slot, other) != frozenset()


def test_fair_values_keep_what_differs_apart() -> None:
    assert fair_value("people", "1") != fair_value("people", "12")
    assert fair_value("name", "curry garden") != fair_value("name", "yu garden")
    assert fair_value("area", "north|south") == {"north", "south"}
    assert fair_value("time", "21:00>20:00") == {"21:00", "20:00"}
    assert fair_value("area", "not mentioned") == frozenset()


def test_minutes_of_what_is_no_time() -> None:
    assert [minutes(time) for time in ("24:08", "9:00", "soon", "10:xx", "10:30 or so")] == [
        1448,
        0,
        0,
        0,
        0,
    ]
