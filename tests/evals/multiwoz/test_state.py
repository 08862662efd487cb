from __future__ import annotations

import pytest

from coalm.evals.multiwoz.data import State
from coalm.evals.multiwoz.state import SlotCounts, StateScore, compare_states

GOLD: State = {
    "hotel": {"type": "guest house", "area": "east|west", "people": "12"},
    "restaurant": {"name": "christ college", "food": "dontcare"},
}
RIGHT: State = {
    "hotel": {"type": "guesthouse", "area": "west", "bookpeople": "12"},
    "restaurant": {"name": "christ college", "food": "dontcare"},
}


def changed(domain: str, **slots: str) -> State:
    return {**RIGHT, domain: {**RIGHT[domain], **slots}}


def verdicts(score: StateScore) -> tuple[bool, bool, bool]:
    return score.fuzzy, score.exact, score.fair


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        (RIGHT, (True, True, True)),
        (changed("hotel", area="east"), (True, True, True)),
        (changed("hotel", area="east|west"), (True, True, True)),
        (changed("hotel", area="eas"), (True, False, False)),
        (changed("hotel", area="north"), (False, False, False)),
        (changed("hotel", bookpeople="1"), (True, False, False)),
        (changed("restaurant", food="dont care"), (False, False, True)),
        (changed("restaurant", food=""), (False, False, False)),
        (changed("hotel", stars="4"), (False, False, False)),
        (changed("hotel", stars="not mentioned"), (False, False, True)),
        ({"hotel": RIGHT["hotel"]}, (False, False, False)),
        ({**RIGHT, "taxi": {}}, (True, True, True)),
        ({}, (False, False, False)),
        (None, (False, False, False)),
    ],
)
def test_states_are_compared_in_three_ways(
    predicted: State | None, expected: tuple[bool, bool, bool]
) -> None:
    assert verdicts(compare_states(GOLD, predicted)) == expected


def test_only_the_fair_rule_forgives_slot_names() -> None:
    gold: State = {"train": {"arrive": "09:00"}, "hotel": {"pricerange": "cheap", "day": "monday"}}
    said: State = {
        "train": {"arriveBy": "9:00"},
        "hotel": {"price range": "cheap", "book day": "monday"},
    }
    assert verdicts(compare_states(gold, said)) == (False, False, True)
    known: State = {
        "train": {"arriveby": "9:00"},
        "hotel": {"pricerange": "cheap", "bookday": "monday"},
    }
    assert verdicts(compare_states(gold, known)) == (True, True, True)


def test_gold_values_alone_are_preprocessed_by_the_helper() -> None:
    gold: State = {"restaurant": {"name": "saint john's college"}}
    assert verdicts(compare_states(gold, gold)) == (False, False, True)


def test_an_empty_state_is_right_only_if_it_was_predicted() -> None:
    assert verdicts(compare_states({}, {})) == (True, True, True)
    assert verdicts(compare_states({}, None)) == (False, False, False)


def test_a_wrong_value_is_extra_and_missing() -> None:
    score = compare_states(GOLD, changed("hotel", area="north", stars="4"))
    assert score.fuzzy_slots == score.fair_slots == SlotCounts(right=4, extra=2, missing=1)
    assert compare_states(GOLD, None).fair_slots == SlotCounts(0, 0, 5)


def test_f1() -> None:
    assert SlotCounts(4, 2, 1).f1() == pytest.approx(8 / 11)
    assert SlotCounts(0, 1, 0).f1() == 0.0
    assert SlotCounts().f1() == 1.0


def test_domains_are_judged_apart() -> None:
    score = compare_states(GOLD, {**changed("hotel", area="north"), "train": {"day": "friday"}})
    assert score.domains == {"hotel": False, "restaurant": True, "train": False}
    assert compare_states(GOLD, None).domains == {"hotel": False, "restaurant": False}
