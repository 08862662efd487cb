from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import JsonValue

from coalm.evals.multiwoz.data import Corpus, State
from coalm.evals.multiwoz.database import Database
from coalm.evals.multiwoz.figures import AGENT_FIGURES, STATE_FIGURES, figure
from coalm.evals.multiwoz.grade import (
    find_errors,
    grade_dialogue,
    grade_states,
    state_values,
    success_values,
)
from coalm.evals.multiwoz.live import LiveTurn, Step, states_from_calls
from coalm.evals.multiwoz.tools import dialogue_toolbox
from coalm.types import ToolCall

FOOD = ("query_restaurants", {"food": "chinese"})
HOTEL = ("query_hotels", {"type": "guesthouse"})
BOOK = (
    "book_restaurant",
    {"name": "golden lantern", "people": 2, "day": "monday", "time": "18:00"},
)
Call = tuple[str, dict[str, JsonValue]]


def played(database: Database, *turns: tuple[Sequence[Any], str]) -> list[LiveTurn]:
    """Turns of an agent; `{reference}` in a response is the last booking's."""
    box = dialogue_toolbox(database, "mul0001")
    reference = "none yet"
    found: list[LiveTurn] = []
    for calls, response in turns:
        steps: list[Step] = []
        for name, arguments in calls:
            try:
                result = box.call(name, arguments)
            except Exception as e:  # noqa: BLE001 - whatever the tool says
                result = {"error": str(e)}
            assert isinstance(result, dict)
            reference = str(result.get("reference", reference))
            steps.append(Step(ToolCall(name=name, arguments=arguments), result))
        found.append(LiveTurn("?", steps, response.format(reference=reference)))
    return found


NAMED = "Golden Lantern, 01223 000001"
GOOD = (
    ((FOOD,), NAMED),
    ((BOOK,), "Booked, {reference}."),
    ((HOTEL,), "Elm Guest House, CB4 4DD."),
)


def test_a_good_dialogue_succeeds(corpus: Corpus, database: Database) -> None:
    dialogue, turns = corpus.dialogues["mul0001"], played(database, *GOOD)
    grades = grade_dialogue(dialogue, turns, states_from_calls(turns), database)
    assert grades.verdict.succeeded
    assert grades.strict.succeeded
    assert [tuple(outcome) for outcome in grades.outcomes.values()] == [
        (True, False, True),  # the area of the restaurant was not told
        (True, True, None),
    ]
    values = success_values(grades)
    assert (values["inform"], values["success"], values["success strict"]) == (1.0, 1.0, 1.0)
    assert (values["hotel goals"], values["train goals"]) == (1.0, 0.0)
    assert (values["autotod inform"], values["autotod success"], values["autotod book"]) == (
        1,
        0,
        1,
    )
    assert values["autotod combined"] == pytest.approx((0.75 + 1.0) / 2)
    assert find_errors(dialogue, turns, grades.verdict) == ("success", None)


def test_an_early_booking_counts_for_the_agents_own_record_only(
    corpus: Corpus, database: Database
) -> None:
    turns = played(
        database, ((FOOD, BOOK), NAMED + ", {reference}"), ((), "Anything else?"), GOOD[2]
    )
    states = states_from_calls(turns)
    grades = grade_dialogue(corpus.dialogues["mul0001"], turns, states, database)
    assert grades.verdict.succeeded
    assert not grades.strict.succeeded
    assert grades.strict.missing["restaurant"] == {"REFERENCE"}


@pytest.mark.parametrize(
    ("turns", "verdict", "explanation"),
    [
        ((((), ""), ((), ""), ((), "")), "no answer", "the agent never answered"),
        (
            (((FOOD,), "Golden Lantern!"), GOOD[1], GOOD[2]),
            "answer not given",
            "restaurant: PHONE not given",
        ),
        (
            (GOOD[0], GOOD[1], ((), "Elm Guest House, CB4 4DD.")),
            "never searched",
            "hotel: no tool of this domain was called",
        ),
        (
            (GOOD[0], GOOD[1], ((HOTEL,), "Sorry.")),
            "nothing offered",
            "hotel: nothing was named that fits the state",
        ),
        (
            (((("query_restaurants", {"area": "centre"}),), NAMED), ((), "Fine."), GOOD[2]),
            "wrong state",
            "restaurant: what was offered does not all fit the goal",
        ),
        (
            (GOOD[0], ((), "Fine."), GOOD[2]),
            "never booked",
            "restaurant: REFERENCE not given",
        ),
        (
            (GOOD[0], ((("book_restaurant", {**BOOK[1], "people": 0}),), "Fine."), GOOD[2]),
            "never booked",
            "restaurant: REFERENCE not given (people must be 1 or more, got 0)",
        ),
        (
            (((FOOD, BOOK), NAMED), ((), "Fine."), GOOD[2]),
            "booked too early",
            "restaurant: REFERENCE not given",
        ),
    ],
)
def test_what_went_wrong_is_named(
    corpus: Corpus,
    database: Database,
    turns: Sequence[tuple[Sequence[Call], str]],
    verdict: str,
    explanation: str | None,
) -> None:
    dialogue, live = corpus.dialogues["mul0001"], played(database, *turns)
    grades = grade_dialogue(dialogue, live, states_from_calls(live), database)
    assert find_errors(dialogue, live, grades.verdict) == (verdict, explanation)


def test_states_are_counted(corpus: Corpus) -> None:
    dialogue = corpus.dialogues["sng0002"]
    gold = dialogue.turns[0].state
    states: list[State | None] = [gold, None]
    values = state_values(grade_states(dialogue, states))
    assert (values["turns"], values["jga fuzzy"], values["jga exact"], values["jga fair"]) == (
        2,
        1,
        1,
        1,
    )
    assert (values["train turns"], values["train jga"], values["taxi turns"]) == (2, 1, 0)
    assert (values["slots fair right"], values["slots fair missing"]) == (4, 4)


def test_figures_follow_from_sums(corpus: Corpus, database: Database) -> None:
    dialogue = corpus.dialogues["mul0001"]
    totals: dict[str, float] = {"samples": 2.0}
    for turns in (played(database, *GOOD), played(database, ((), ""), ((), ""), ((), ""))):
        states = states_from_calls(turns)
        grades = grade_dialogue(dialogue, turns, states, database)
        for name, value in (
            success_values(grades) | state_values(grade_states(dialogue, states))
        ).items():
            totals[name] = totals.get(name, 0.0) + value
    found = {name: figure(name, totals) for name in (*AGENT_FIGURES, *STATE_FIGURES)}
    assert (found["inform"], found["success"], found["success hotel"]) == (50.0, 50.0, 50.0)
    assert found["success taxi"] == 0.0
    assert (found["autotod book"], found["autotod success"]) == (50.0, 0.0)
    assert found["autotod combined"] == pytest.approx(100 * 0.875 / 2)
    assert found["jga fair"] == pytest.approx(0.0)
    assert 0 < found["slot f1 fair"] < 100
