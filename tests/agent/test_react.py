from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coalm.agent.react import (
    Limits,
    end_turn,
    is_open,
    stop_reason,
    user_turn,
)
from coalm.agent.rollout import run_one
from coalm.engines.base import Completion, SamplingParams, Usage
from coalm.errors import EngineError, ToolError
from coalm.formats import FORMATS, get_format
from coalm.tools import Tool, Toolbox
from coalm.types import Conversation, Message, Prompt, ToolCall, ToolSchema

REACT = get_format("react")
CITY: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}}


class Replies:
    """An engine that says what it was given, one text after the other, and keeps the prompts."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.prompts: list[str] = []

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        self.prompts += ["\n".join(turn.content for turn in prompt) for prompt in prompts]
        if not self.texts:
            raise EngineError("nothing left to say")
        return [Completion(self.texts.pop(0), (), "stop", Usage(1, 1)) for _ in prompts]

    def close(self) -> None:
        pass


def weather_box(ran: list[str]) -> Toolbox:
    def weather(city: str) -> dict[str, str]:
        ran.append(city)
        if city == "Atlantis":
            raise ToolError("no such city")
        return {"sky": f"clear over {city}"}

    schema = {"name": "Weather", "parameters": {**CITY, "required": ["city"]}}
    return Toolbox([Tool(ToolSchema.model_validate(schema), weather)])


def asked(*messages: Message) -> Conversation:
    question = Message(role="user", content="Weather?")
    return Conversation(id="c", messages=(question, *messages), tools=weather_box([]).schemas)


def turn(
    engine: Replies,
    conversation: Conversation | None = None,
    limits: Limits | None = None,
    form: str = "react",
) -> tuple[Conversation, list[str]]:
    """The conversation after one turn, and the cities that the tool was really asked for."""
    ran: list[str] = []
    rollout = user_turn(
        conversation or asked(), get_format(form), weather_box(ran), limits or Limits()
    )
    return run_one(rollout, engine, SamplingParams()), ran


def call(city: str) -> str:
    return f'Thought: I look.\nAction: Weather(city="{city}")'


def shape(conversation: Conversation) -> str:
    """One letter per message: u(ser), c(alls), t(ool), r(eply)."""
    return "".join(
        "c" if message.tool_calls else {"user": "u", "tool": "t", "assistant": "r"}[message.role]
        for message in conversation.messages
    )


def test_a_turn_thinks_acts_observes_and_replies() -> None:
    engine = Replies(call("Oslo"), "Thought: It is clear.\nSystem: Clear sky!")
    done, ran = turn(engine)
    assert ran == ["Oslo"]
    assert done.messages[1:] == (
        Message(
            role="assistant",
            thought="I look.",
            tool_calls=(ToolCall(name="Weather", arguments={"city": "Oslo"}),),
        ),
        Message(role="tool", content='{"sky": "clear over Oslo"}', name="Weather"),
        Message(role="assistant", thought="It is clear.", content="Clear sky!"),
    )
    assert 'Observation: {"sky": "clear over Oslo"}' in engine.prompts[1]
    assert stop_reason(done) is None
    assert not is_open(done)


@pytest.mark.parametrize(
    ("form", "calls"),
    [
        ("json_calls", '```\n[{"name": "Weather", "arguments": {"city": "Oslo"}}]\n```'),
        ("python_calls", '[Weather(city="Oslo")]'),
        ("dst", 'System: {"domain": "Weather", "slot_values": {"city": "Oslo"}}'),
    ],
)
def test_every_format_can_drive_the_loop(form: str, calls: str) -> None:
    done, ran = turn(Replies(calls, "Clear sky!"), form=form)
    assert form in FORMATS
    assert ran == ["Oslo"]
    assert shape(done) == "uctr"
    assert done.messages[-1].content == "Clear sky!"


def test_parallel_calls_are_observed_one_by_one() -> None:
    engine = Replies('Action: Weather(city="Oslo"), Weather(city="Rome")', "System: Both clear.")
    done, ran = turn(engine)
    assert ran == ["Oslo", "Rome"]
    assert shape(done) == "ucttr"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ('Action: Weathr(city="Oslo")', "there is no tool"),
        ("Action: Weather()", "missing argument 'city'"),
        ("Action: Weather(town=3)", "unknown argument 'town'"),
        ('Action: Weather(city="Atlantis")', "no such city"),
        ('Action: Weather(city="Oslo"', "the call could not be read: "),
        ("Action:", "the call could not be read: no call after the label Action"),
        ("Action: I would call Weather now", "the call could not be read: "),
    ],
)
def test_a_bad_action_becomes_an_observation_that_the_model_reads(said: str, problem: str) -> None:
    engine = Replies(said, "System: Sorry.")
    done, _ = turn(engine)
    assert shape(done) == "uctr"
    assert done.messages[2].content.startswith('{"error": ')
    assert problem in done.messages[2].content
    assert f"Observation: {done.messages[2].content}" in engine.prompts[1]


def test_an_unreadable_call_is_kept_in_the_record_but_not_shown_again() -> None:
    engine = Replies('Action: Weather(city="Oslo"), Weather(city=', "System: Clear in Oslo.")
    done, _ = turn(engine)
    assert done.messages[1].tool_calls[0].raw == 'Weather(city="Oslo"), Weather(city='
    assert "Weather(city=\n" not in engine.prompts[1]


def test_what_could_be_read_beside_an_unreadable_call_is_done() -> None:
    engine = Replies('Action: Weather(city="Oslo")\nAction: Weather(city=', "System: Clear.")
    done, ran = turn(engine)
    assert ran == ["Oslo"]
    assert shape(done) == "ucttr"
    assert 'Action: Weather(city="Oslo")\nObservation: {"sky"' in engine.prompts[1]


def test_steps_are_limited_and_every_call_is_answered() -> None:
    engine = Replies(*(call(f"City {n}") for n in range(9)))
    done, ran = turn(engine, limits=Limits(max_steps=4))
    assert ran == [f"City {n}" for n in range(4)]
    assert shape(done) == "uctctctct"
    assert done.meta == {"stops": [{"after": 9, "reason": "max_steps"}]}
    assert stop_reason(done) == "max_steps"
    assert not is_open(done)


@pytest.mark.parametrize("said", [call("Oslo"), "Action: Weather(city="])
def test_a_model_that_repeats_itself_is_stopped(said: str) -> None:
    done, ran = turn(Replies(*[said] * 9), limits=Limits(max_repeats=3))
    assert shape(done) == "uctctct"
    assert len(ran) in (0, 3)
    assert stop_reason(done) == "max_repeats"


def test_repeats_are_counted_by_value_not_by_spelling() -> None:
    both = ['Action: f(a=1, b="x")', "Action: f(b='x',a=1)"]
    done, _ = turn(Replies(*both * 3), limits=Limits(max_repeats=2))
    assert shape(done) == "uctct"


def test_limits_count_per_turn() -> None:
    limits = Limits(max_steps=2, max_repeats=2)
    first, _ = turn(Replies(call("Oslo"), call("Oslo")), limits=limits)
    assert stop_reason(first) == "max_repeats"
    again = first.extended(Message(role="user", content="And now?"))
    assert stop_reason(again) is None
    assert is_open(again)
    second, ran = turn(Replies(call("Oslo"), "System: Clear."), again, limits)
    assert ran == ["Oslo"]
    assert second.messages[-1].content == "Clear."
    assert stop_reason(second) is None
    third, _ = turn(
        Replies(call("Oslo"), call("Rome")), second.extended(again.messages[-1]), limits
    )
    assert third.meta["stops"] == [
        {"after": 5, "reason": "max_repeats"},
        {"after": 14, "reason": "max_steps"},
    ]


def test_the_watcher_sees_every_message_as_it_comes() -> None:
    seen: list[str] = []
    rollout = user_turn(asked(), REACT, weather_box([]), watch=lambda c: seen.append(shape(c)))
    run_one(rollout, Replies(call("Oslo"), "System: Clear."), SamplingParams())
    assert seen == ["uc", "uct", "uctr"]


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_a_turn_cut_off_anywhere_goes_on_from_its_saved_messages(length: int) -> None:
    said = ['Action: Weather(city="Oslo"), Weather(city="Rome")', call("Bern"), "System: Clear."]
    whole, _ = turn(Replies(*said))
    cut = whole.model_copy(update={"messages": whole.messages[:length]})
    assert is_open(cut)
    spoken = sum(message.role == "assistant" for message in cut.messages)
    resumed, ran = turn(Replies(*said[spoken:]), cut)
    assert shape(resumed) == shape(whole) == "ucttctr"
    assert resumed.messages[-1] == whole.messages[-1]
    # a call whose result was lost is not made again: it may have booked something
    lost = [
        m.content for m in resumed.messages if "no result: the program was stopped" in m.content
    ]
    assert len(lost) == {1: 0, 2: 2, 3: 1, 4: 0, 5: 1}[length]
    assert len(ran) == {1: 3, 2: 1, 3: 1, 4: 1, 5: 0}[length]


def test_steps_made_before_a_cut_count() -> None:
    whole, _ = turn(Replies(call("a"), call("b"), call("c")), limits=Limits(max_steps=3))
    cut = whole.model_copy(update={"messages": whole.messages[:3], "meta": {}})
    resumed, ran = turn(Replies(call("b"), call("c"), call("d")), cut, Limits(max_steps=3))
    assert ran == ["b", "c"]
    assert resumed.messages == whole.messages


def test_end_turn_answers_open_calls_and_records_why() -> None:
    calls = (ToolCall(name="Weather", arguments={"city": "Oslo"}, id="7"),)
    open_turn = asked(Message(role="assistant", tool_calls=calls))
    assert is_open(open_turn)
    ended = end_turn(open_turn, "interrupted")
    assert ended.messages[-1] == Message(
        role="tool",
        content='{"error": "no result: the turn was interrupted"}',
        name="Weather",
        tool_call_id="7",
    )
    assert stop_reason(ended) == "interrupted"
    assert not is_open(ended)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ((), False),
        ((Message(role="system", content="Be brief."),), False),
        ((Message(role="user", content="hi"),), True),
        ((Message(role="user", content="hi"), Message(role="assistant", content="hi")), False),
    ],
)
def test_is_open(messages: tuple[Message, ...], expected: bool) -> None:
    assert is_open(Conversation(id="c", messages=messages)) is expected


def test_a_conversation_without_a_user_is_one_turn() -> None:
    first = Conversation(id="c", messages=(Message(role="tool", content="alarm"),))
    done, ran = turn(Replies(call("Oslo"), call("Rome")), first, Limits(max_steps=2))
    assert ran == ["Oslo", "Rome"]
    assert stop_reason(done) == "max_steps"


def test_a_turn_can_be_ended_before_anything_was_said() -> None:
    ended = end_turn(Conversation(id="c"), "error")
    assert ended.messages == ()
    assert stop_reason(ended) == "error"


def test_an_empty_answer_is_a_reply() -> None:
    done, _ = turn(Replies(""))
    assert shape(done) == "ur"
    assert done.messages[-1].content == ""


PIECES = st.sampled_from(
    [
        "Thought:",
        "Action:",
        "System:",
        "Observation:",
        "\n",
        "Weather(",
        'city="Oslo"',
        ")",
        "[",
        ",",
    ]
)
MODEL_TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=12).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(MODEL_TEXTS, min_size=5, max_size=5), st.sampled_from(sorted(FORMATS)))
def test_whatever_the_model_says_the_turn_ends_in_a_defined_state(
    texts: list[str], form: str
) -> None:
    done, _ = turn(Replies(*texts), limits=Limits(max_steps=5, max_repeats=3), form=form)
    assert not is_open(done)
    replied = shape(done).endswith("r")
    assert replied == (stop_reason(done) is None)
    calls = sum(len(message.tool_calls) for message in done.messages)
    assert shape(done).count("t") == calls
    assert sum(message.role == "assistant" for message in done.messages) <= 5
