from __future__ import annotations

import pytest

from coalm.evals.multiwoz.data import Corpus, DomainGoal, State
from coalm.evals.multiwoz.database import Database
from coalm.evals.multiwoz.success import (
    Goal,
    JudgedTurn,
    Verdict,
    estimate_domains,
    evaluator_goal,
    evaluator_state,
    gold_state,
    judge,
)

CHINESE = {"food": "chinese"}


def turn(
    response: str, state: State, *active: str, booked: frozenset[str] = frozenset()
) -> JudgedTurn:
    return JudgedTurn(response, state, frozenset(active), booked)


def wish(domain: str, *wanted: str, **constraints: str) -> dict[str, Goal]:
    return {domain: Goal(constraints, frozenset(wanted))}


def test_what_counts_of_a_goal(corpus: Corpus) -> None:
    assert evaluator_goal(corpus.dialogues["mul0001"].goal) == {
        "restaurant": Goal({"food": "chinese"}, frozenset({"PHONE", "REFERENCE"})),
        "hotel": Goal({"type": "guesthouse"}, frozenset({"POST"})),
    }
    train = evaluator_goal(corpus.dialogues["sng0002"].goal)["train"]
    assert train.constraints["arrive"] == "10:00"
    assert train.wanted == {"TRAINID"}


def test_of_a_taxi_only_the_phone_counts() -> None:
    goal = {"taxi": DomainGoal(info={"leaveAt": "9:00"}, reqt=("car type", "phone"))}
    assert evaluator_goal(goal) == {"taxi": Goal({"leave": "09:00"}, frozenset({"PHONE"}))}
    ride = {"train": DomainGoal(reqt=("price",), book={"people": "2"})}
    assert evaluator_goal(ride)["train"].wanted == {"REFERENCE"}


@pytest.mark.parametrize(
    ("turns", "inform"),
    [
        ([turn("NAME", {"restaurant": CHINESE}, "restaurant")], True),
        ([turn("nice", {"restaurant": CHINESE}, "restaurant")], False),
        ([turn("NAME", {"restaurant": CHINESE}, "hotel")], False),
        ([turn("NAME", {"restaurant": {"area": "centre"}}, "restaurant")], False),
        ([turn("NAME", {"restaurant": {"food": "thai"}}, "restaurant")], False),
        ([turn("NAME", {}, "restaurant")], False),
        ([turn("TRAINID", {"restaurant": CHINESE}, "restaurant")], False),
    ],
    ids=["right", "no name", "other domain", "too wide", "nothing fits", "no state", "no venue"],
)
def test_inform_asks_whether_all_that_is_offered_fits(
    database: Database, turns: list[JudgedTurn], inform: bool
) -> None:
    verdict = judge(wish("restaurant", food="chinese"), turns, database)
    assert verdict.inform == {"restaurant": inform}
    assert verdict.informed == verdict.succeeded == inform


def test_an_offer_stays_while_it_fits_and_is_replaced_when_it_does_not(database: Database) -> None:
    goal = wish("restaurant", food="chinese")
    first = turn("NAME", {"restaurant": CHINESE}, "restaurant")
    wider = turn("NAME", {"restaurant": {"area": "centre"}}, "restaurant")
    other = turn("NAME", {"restaurant": {"area": "north"}}, "restaurant")
    lost = turn("NAME", {}, "restaurant")
    assert judge(goal, [first, wider], database).informed
    assert not judge(goal, [wider, other], database).informed
    assert not judge(goal, [first, other], database).informed
    assert not judge(goal, [first, lost], database).informed
    assert judge(goal, [first, lost, first], database).informed


def test_some_domains_are_informed_without_an_offer(database: Database) -> None:
    assert judge(wish("restaurant", name="golden lantern"), [], database).informed
    assert judge(wish("taxi"), [], database).informed
    assert judge(wish("train", day="monday"), [], database).informed
    assert not judge(wish("train", "TRAINID", day="monday"), [], database).informed
    late = turn("TRAINID", {"train": {"leave": "23:00"}}, "train")
    assert not judge(wish("train", arrive="10:00"), [late], database).informed


def test_trains_that_share_an_id_are_one_offer(database: Database) -> None:
    sunday = turn("TRAINID", {"train": {"day": "sunday"}}, "train")
    assert judge(wish("train", day="monday"), [sunday], database).informed


def test_a_train_is_offered_by_its_id(database: Database) -> None:
    goal = wish("train", "TRAINID", departure="cambridge", arrive="10:00")
    fits = {"train": {"departure": "cambridge", "arrive": "09:30"}}
    assert judge(goal, [turn("TRAINID at TIME", fits, "train")], database).succeeded
    assert not judge(goal, [turn("NAME at TIME", fits, "train")], database).informed


def test_success_needs_every_answer(database: Database) -> None:
    goal = wish("restaurant", "PHONE", "POST", food="chinese")
    named = turn("NAME , PHONE", {"restaurant": CHINESE}, "restaurant")
    verdict = judge(goal, [named], database)
    assert (verdict.informed, verdict.succeeded) == (True, False)
    assert verdict.missing == {"restaurant": {"POST"}}
    assert judge(goal, [named, turn("POST", {}, "restaurant")], database).succeeded
    assert not judge(goal, [named, turn("POST", {}, "hotel")], database).succeeded


def test_a_reference_counts_once_it_can_be_known(database: Database) -> None:
    goal = wish("restaurant", "REFERENCE", food="chinese")
    early = turn("NAME REFERENCE", {"restaurant": CHINESE}, "restaurant")
    booked = early._replace(booked=frozenset({"restaurant"}))
    assert not judge(goal, [early], database).succeeded
    assert judge(goal, [booked], database).succeeded


def test_without_inform_there_is_no_success(database: Database) -> None:
    goal = wish("taxi", "PHONE") | wish("restaurant", food="chinese")
    verdict = judge(goal, [turn("PHONE", {}, "taxi")], database)
    assert verdict == Verdict(
        inform={"taxi": True, "restaurant": False},
        success={},
        missing={"taxi": frozenset(), "restaurant": frozenset()},
        offered={"restaurant": False},
    )
    assert not verdict.succeeded


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([{}, {"hotel": {}}], ["", ""]),
        ([{}, {"hotel": {"area": "east"}}, {"hotel": {"area": "east"}}], ["", "hotel", "hotel"]),
        (
            [{"hotel": {"area": "east"}}, {"hotel": {"area": "east"}, "train": {"day": "monday"}}],
            ["hotel", "train"],
        ),
        # both change: the current one stays, then it is the other one's turn
        (
            [
                {"hotel": {"area": "east"}},
                {"hotel": {"area": "west"}, "train": {"day": "monday"}},
                {"hotel": {"area": "west"}, "train": {"day": "monday"}},
                {"hotel": {"area": "west"}, "train": {"day": "monday"}},
            ],
            ["hotel", "hotel", "train", "train"],
        ),
        # the one with most slots is taken; of equal ones the first
        ([{"taxi": {"a": "1"}, "train": {"a": "1", "b": "2"}}], ["train"]),
        ([{"taxi": {"a": "1"}, "train": {"a": "1"}}], ["taxi"]),
        # what disappears is no change, and a domain that is gone cannot be the current one
        (
            [{"hotel": {"a": "1"}, "taxi": {"b": "1", "c": "2"}}, {"hotel": {"a": "1"}}],
            ["taxi", "hotel"],
        ),
        ([{"hotel": {"a": "1", "b": "2"}}, {"hotel": {"a": "1"}}], ["hotel", "hotel"]),
    ],
)
def test_domains_are_guessed_from_changes(states: list[State], expected: list[str]) -> None:
    assert estimate_domains(states) == [frozenset({name} - {""}) for name in expected]


def test_states_are_read_by_the_evaluators_rules() -> None:
    state = {"hotel": {"book day": "monday", "Type": "guest house"}, "train": {"arriveBy": "9"}}
    assert evaluator_state(state) == {
        "hotel": {"bookday": "monday", "type": "guesthouse"},
        "train": {"arrive": "09:00"},
    }


def test_none_is_no_value_of_a_gold_state() -> None:
    assert gold_state({"hotel": {"name": "none"}, "taxi": {"leave": "9", "arrive": "none"}}) == {
        "taxi": {"leave": "09:00"}
    }
