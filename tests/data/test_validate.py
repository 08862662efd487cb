from __future__ import annotations

import pytest

from coalm.data.base import Ledger
from coalm.data.validate import CRITERIA, Validator, Violation, examples, validate
from coalm.types import Conversation, Message, ToolCall, ToolSchema

TOOLS = (
    ToolSchema(
        name="Find",
        parameters={
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "size": {"type": "integer"},
                "open": {"type": "boolean", "default": True},
                "price": {"type": "string", "enum": ["low", "high"]},
            },
            "required": ["city"],
        },
    ),
    ToolSchema(name="Book", parameters={"type": "object", "properties": {}}),
)
ASK = Message(role="user", content="A table for two in Oslo.")
RESULT = Message(role="tool", name="Find", content='[{"place": "Kaffe"}]')
REPLY = Message(role="assistant", thought="I offer the result.", content="How about Kaffe?")


def calling(name: str = "Find", thought: str | None = None, **arguments: object) -> Message:
    call = ToolCall.model_validate({"name": name, "arguments": arguments})
    return Message(role="assistant", thought=thought, tool_calls=(call,))


def conversation(*messages: Message, name: str = "a") -> Conversation:
    return Conversation(id=name, messages=messages, tools=TOOLS)


def test_a_sound_sample_has_no_violation() -> None:
    call = calling(city="Oslo", size=2, open=True, thought='Find, for city "Oslo" and size 2.')
    assert validate(conversation(ASK, call)) == []
    assert validate(conversation(ASK, call, RESULT, REPLY)) == []


@pytest.mark.parametrize(
    ("message", "violation"),
    [
        (
            calling("Finds", city="Oslo"),
            Violation("function", "'Finds' is not among the functions on offer"),
        ),
        (
            calling(town="Oslo"),
            Violation("arguments", "Find: unknown argument 'town'; known are: city, size, "),
        ),
        (calling(size=2), Violation("arguments", "Find: missing argument 'city'")),
        (
            calling(city="Oslo", size="two"),
            Violation("arguments", "Find: argument 'size' must be an integer, got 'two'"),
        ),
        (
            calling(city="Oslo", size="2"),
            Violation("arguments", "Find: argument 'size' must be 2, got '2'"),
        ),
        (
            calling(city="Oslo", price="two"),
            Violation("arguments", "Find: argument 'price' must be one of ['low', 'high'], got"),
        ),
        (calling(city="Rome"), Violation("evidence", "Find: nobody gave city 'Rome'")),
        (
            calling(city="Oslo", open=False),
            Violation("evidence", "Find: nobody gave open False"),
        ),
        (
            calling(city="Oslo", thought="I call Book."),
            Violation("thought", "the thought does not name Find, which is called"),
        ),
        (
            Message(role="assistant", thought="So I call Find.", content="Hi"),
            Violation("thought", "the thought announces a call"),
        ),
    ],
)
def test_every_criterion_is_named(message: Message, violation: Violation) -> None:
    found = validate(conversation(ASK, message))
    assert [v.criterion for v in found if v.detail.startswith(violation.detail)] == [
        violation.criterion
    ]


def test_a_call_may_use_what_an_earlier_result_shows() -> None:
    assert validate(conversation(ASK, calling(city="Oslo"), RESULT, calling(city="Kaffe"))) == []
    assert validate(conversation(ASK, calling(city="Kaffe"), RESULT)) != []


def test_a_false_history_makes_a_sample_false() -> None:
    found = validate(conversation(ASK, calling(city="Rome"), RESULT, REPLY))
    assert [v.criterion for v in found] == ["evidence"]


def test_what_a_reply_says_may_stand_in_its_thought_or_in_the_results() -> None:
    said = Message(role="assistant", thought='I tell the user: size 3, place "Kaffe".', content="3")
    assert validate(conversation(ASK, calling(city="Oslo"), RESULT, said)) == []
    unsaid = said.model_copy(update={"content": "4"})
    assert [v.criterion for v in validate(conversation(ASK, unsaid, RESULT, unsaid))] == [
        *("thought", "thought", "thought")
    ]


def test_a_thought_that_stands_alone_is_held_against_what_follows() -> None:
    thought = Message(role="assistant", thought='I tell the user: size 3, place "Kaffe".')
    said, unsaid = (Message(role="assistant", content=text) for text in ("3", "4"))
    called = calling(city="Oslo")
    assert validate(conversation(ASK, called, RESULT, thought, said)) == []
    assert validate(conversation(ASK, called, RESULT, thought, said, ASK, REPLY)) == []
    for false in ((unsaid,), (unsaid, ASK, REPLY), (called,), (ASK, REPLY)):
        found = validate(conversation(ASK, called, RESULT, thought, *false))
        assert {v.criterion for v in found} == {"thought"}, false


def test_samples_of_a_dialogue_give_together_what_each_gives_alone() -> None:
    good, bad = calling(city="Oslo"), calling(city="Rome")
    samples = [
        conversation(ASK, bad),
        conversation(ASK, good),
        conversation(ASK, good, RESULT, REPLY),
        conversation(ASK, good, RESULT, REPLY, ASK, bad),
        conversation(ASK, good, RESULT, REPLY, ASK, bad, RESULT, REPLY),
        conversation(ASK, bad, RESULT, REPLY),
        conversation(ASK, REPLY),
        conversation(ASK),
    ]
    for order in (samples, samples[::-1]):
        validator = Validator(Ledger())
        assert [validator.check(sample) for sample in order] == list(map(validate, order))


def test_every_message_of_a_dialogue_is_checked_once() -> None:
    ledger = Ledger()
    validator = Validator(ledger)
    messages = [ASK, calling(city="Oslo", size=2), RESULT, REPLY]
    validator.check(conversation(*messages[:2]))
    validator.check(conversation(*messages))
    validator.check(conversation(*messages, ASK, REPLY))
    assert ledger.checked == {
        "samples": 3,
        "calls": 1,
        "thoughts": 2,
        "arguments by text": 1,
        "arguments by form": 1,
    }


def test_a_sample_that_is_not_sound_is_rejected_by_name() -> None:
    ledger = Ledger()
    validator = Validator(ledger)
    assert validator.admits(conversation(ASK, calling(city="Oslo")))
    for number in range(5):
        assert not validator.admits(conversation(ASK, calling(city="Rome"), name=f"a{number}"))
    assert ledger.reasons() == {"violates the criterion evidence": 5}
    assert ledger.violations == {"evidence": 5}
    assert examples(ledger) == {
        "evidence": [f"a{number}: Find: nobody gave city 'Rome'" for number in range(3)]
    }
    assert CRITERIA == ("function", "arguments", "evidence", "thought")
