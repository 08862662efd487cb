from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import JsonValue

from coalm.evals.multiwoz.autotod import Booking, Exchange
from coalm.evals.multiwoz.live import (
    LiveTurn,
    Step,
    booked_so_far,
    bookings,
    judged_turns,
    live_turns,
    state_value,
    states_from_calls,
    transcript,
)
from coalm.types import Conversation, Message, ToolCall

LANTERN = {"name": "golden lantern", "food": "chinese", "phone": "01223000001"}
FOUND = {"found": 1, "results": [LANTERN]}
BOOKED = {"reference": "ab12cd34", "name": "golden lantern", "people": "2", "day": "monday"}
TAXI = {"car type": "red ford", "phone": "5550001112", "departure": "a", "leaveAt": "09:00"}


def step(tool: str, result: dict[str, Any], /, **arguments: JsonValue) -> Step:
    return Step(ToolCall(name=tool, arguments=arguments), result)


SEARCH = step("query_restaurants", FOUND, food="Chinese", area="dont care", pricerange="")
BOOKING = step("book_restaurant", BOOKED, name="golden lantern", people=2, day="monday")
REFUSED = step("book_restaurant", {"error": "no"}, name="golden lantern", people=2, time="18:00")
RIDE = step("book_taxi", TAXI, departure="a", leaveAt="9:00")
UNKNOWN = step("find_food", {"error": "there is no tool"}, food="thai")


def test_a_conversation_is_taken_apart_into_turns() -> None:
    calls = (ToolCall(name="query_restaurants", arguments={"food": "thai"}), ToolCall(name="x"))
    conversation = Conversation(
        id="a",
        messages=(
            Message(role="user", content="Food!"),
            Message(role="assistant", content="Let me see.", tool_calls=calls),
            Message(role="tool", content=json.dumps(FOUND)),
            Message(role="tool", content="broken"),
            Message(role="assistant", content="How about Thai?"),
            Message(role="user", content="Yes"),
            Message(role="user", content="Hello?"),
        ),
    )
    assert live_turns(conversation) == [
        LiveTurn(
            "Food!", [Step(calls[0], FOUND), Step(calls[1], {"error": "broken"})], "How about Thai?"
        ),
        LiveTurn("Yes", [], ""),
        LiveTurn("Hello?", [], ""),
    ]


def test_bookings_are_what_the_tools_made() -> None:
    turns = [LiveTurn("", [SEARCH, REFUSED, UNKNOWN], ""), LiveTurn("", [BOOKING, RIDE], "")]
    assert bookings(turns) == [
        Booking(
            "restaurant",
            "ab12cd34",
            {"name": "golden lantern", "people": "2", "day": "monday"},
        ),
        Booking(
            "taxi",
            "",
            {"type": "red ford", "phone": "5550001112", "departure": "a", "leave": "09:00"},
        ),
    ]
    assert booked_so_far(turns) == [frozenset(), {"restaurant", "taxi"}]
    tickets = step("buy_train_tickets", {"reference": "r", "trainID": "TR1", "tickets": "3"})
    assert bookings([LiveTurn("", [tickets], "")])[0].details == {"trainid": "TR1", "people": "3"}


def test_the_transcript_has_words_and_bookings() -> None:
    found = transcript([LiveTurn("hi", [BOOKING], "done")])
    assert found.exchanges == [Exchange("hi", "done")]
    assert [booking.reference for booking in found.bookings] == ["ab12cd34"]


def test_states_grow_with_the_arguments_of_calls() -> None:
    again = step("query_restaurants", FOUND, food="thai", mood="good")
    tickets = step("buy_train_tickets", {"error": "no"}, trainID="TR1", tickets=3)
    turns = [
        LiveTurn("", [UNKNOWN], ""),
        LiveTurn("", [SEARCH], ""),
        LiveTurn("", [], ""),
        LiveTurn("", [again, REFUSED, tickets, RIDE], ""),
    ]
    first = {"restaurant": {"food": "chinese", "area": "dontcare"}}
    assert states_from_calls(turns) == [
        {},
        first,
        first,
        {
            "restaurant": {
                "food": "thai",
                "area": "dontcare",
                "name": "golden lantern",
                "people": "2",
                "time": "18:00",
            },
            "train": {"people": "3"},
            "taxi": {"departure": "a", "leave": "9:00"},
        },
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" Centre ", "centre"),
        (4, "4"),
        (["North", "south"], "north|south"),
        (None, ""),
        ("not mentioned", ""),
        ("do not care", "dontcare"),
    ],
)
def test_values_of_a_state(value: JsonValue, text: str) -> None:
    assert state_value(value) == text


def test_a_response_counts_through_what_the_tools_returned() -> None:
    turns = [
        LiveTurn("", [], "Golden Lantern? 01223000001"),
        LiveTurn("", [SEARCH], "Golden Lantern, phone 01223 000001; Blue Door"),
        LiveTurn("", [BOOKING, RIDE], "Booked, AB12CD34. Taxi: 555 000 1112."),
        LiveTurn("", [], "Bye, golden lantern."),
    ]
    nobody = [frozenset[str]()] * 4
    judged = judged_turns(turns, [None, {"restaurant": {"arriveBy": "9"}}, {}, None], nobody)
    assert [turn.response for turn in judged] == [
        "golden lantern? 01223000001",
        "NAME, phone PHONE; blue door",
        "booked, REFERENCE. taxi: PHONE.",
        "bye, NAME.",
    ]
    assert [turn.active for turn in judged] == [
        frozenset(),
        {"restaurant"},
        {"restaurant", "taxi"},
        {"restaurant"},
    ]
    assert judged[0].state == {}
    assert judged[1].state == {"restaurant": {"arrive": "09:00"}}
