from __future__ import annotations

import pytest
from pydantic import JsonValue

from coalm.data import thoughts
from coalm.data.reasoning import call_faults, claims, reply_faults
from coalm.types import Message, ToolCall, ToolSchema

TOOLS = {
    name: ToolSchema(
        name=name, parameters={"type": "object", "properties": {"city": {}, "size": {}}}
    )
    for name in ("Find", "Book")
}
CALL = ToolCall(name="Find", arguments={"city": "Oslo", "size": 2})


def before_call(thought: str) -> list[str]:
    message = Message(role="assistant", thought=thought, tool_calls=(CALL,))
    return list(call_faults(message, TOOLS))


def before_reply(thought: str) -> list[str]:
    message = Message(role="assistant", thought=thought, content="Is Oslo right?")
    return list(reply_faults(message, lambda name, value: value in ("Oslo", 2)))


@pytest.mark.parametrize(
    "thought",
    [
        'I know city "Oslo" and size 2. That is enough for Find, so I call it.',
        'Find fits. The user said city "Oslo" (said as "No call, please").',
        "After Find I may need Book, but first things first: Find.",
    ],
)
def test_a_thought_that_leads_to_the_call(thought: str) -> None:
    assert before_call(thought) == []


@pytest.mark.parametrize(
    ("thought", "fault"),
    [
        ("I call Book.", "the thought does not name Find, which is called"),
        ("", "the thought does not name Find, which is called"),
        ('I call "Find".', "the thought does not name Find, which is called"),
        ("I call Finder now.", "the thought does not name Find, which is called"),
        ('Find it is, with city "Rome".', "the thought has city 'Rome', the call 'Oslo'"),
        ("Find it is, with size 3.", "the thought has size 3, the call 2"),
        ("No call is needed after Find.", "the thought says 'No call', but a call follows"),
        ("Find worked, so I tell the user.", "the thought says 'I tell the user', but a call"),
        ("Before Find I ask for the date.", "the thought says 'I ask', but a call follows"),
        ("I say goodbye to Find.", "the thought says 'I say', but a call follows"),
    ],
)
def test_a_thought_that_disagrees_with_the_call(thought: str, fault: str) -> None:
    assert [found for found in before_call(thought) if found.startswith(fault)]


def test_an_argument_that_only_the_thought_has() -> None:
    call = ToolCall(name="Find", arguments={"city": "Oslo"})
    message = Message(role="assistant", thought="Find, size 2", tool_calls=(call,))
    assert list(call_faults(message, TOOLS)) == ["the thought has size 2, the call 'nothing'"]


@pytest.mark.parametrize(
    "thought",
    [
        'The result holds city "Oslo", which I tell the user.',
        "Find still needs size, so I ask for that.",
        "I cannot call Find before I know size.",
        "Nothing is left to do but to say goodbye.",
        'I repeat the details before I call Find: city "Oslo" and size 2.',
        'The user wants to hear "Oslo". I answer at once.',
    ],
)
def test_a_thought_that_leads_to_the_reply(thought: str) -> None:
    assert before_reply(thought) == []


@pytest.mark.parametrize(
    ("thought", "fault"),
    [
        (" ", "the thought is empty"),
        ("I know the size. So I call Find.", "the thought announces a call ('So I call Find.')"),
        ("Oslo is a city.", "the thought does not speak of replying"),
        ('I tell the user about city "Rome".', "the thought has city 'Rome', which nobody said"),
        ("I tell the user about size 3.", "the thought has size 3, which nobody said"),
    ],
)
def test_a_thought_that_disagrees_with_the_reply(thought: str, fault: str) -> None:
    assert [found for found in before_reply(thought) if found.startswith(fault)]


@pytest.mark.parametrize(
    ("thought", "found"),
    [
        ('city "San \\"J\\" Jose" and size 2, open True', ['San "J" Jose', 2, True]),
        ('tags ["a", "b"]', [["a", "b"]]),
        ("at 18:30 on 2019-03-08", []),
        ("ratio 0.5.", [0.5]),
    ],
)
def test_claims_are_values_behind_names(thought: str, found: list[JsonValue]) -> None:
    assert [value for _, value in claims(thought)] == found


def test_every_wording_of_ours_agrees_with_its_act() -> None:
    before = {"_CONFIRMED", "_AGAIN", "_KNOWN", "_BARE"}
    names = [n for n, v in vars(thoughts).items() if n.isupper() and isinstance(v, tuple)]
    assert before < set(names)
    for name in names:
        for wording in (*getattr(thoughts, name), thoughts._PLAIN[getattr(thoughts, name)]):
            facts = {"facts": 'city "Oslo"', "state": 'city: "Oslo"', "topic": "for"}
            facts |= {"place": "Another result", "slots": "size", "count": "2"}
            filled = wording.format(function="Find", **facts)
            assert (before_call if name in before else before_reply)(filled) == [], wording
