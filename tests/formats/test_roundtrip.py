"""What holds for every prompt format: render, parse and mutated model output."""

import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coalm.errors import FormatError
from coalm.formats import FORMATS, get_format
from coalm.types import Conversation, Message, ToolCall

LABELS = ["Thought:", "Action:", "Observation: ", "System:", "User 2:", "\\Action:", "\\\\User:"]
TRAPS = ["```", "```json", "[]", "[f(a=1)]", '[{"name": "f"}]', '{"domain": "d"}', "f(", "\\", "\n"]
words = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.sampled_from(LABELS + TRAPS)
)
texts = st.lists(words, max_size=6).map(
    lambda parts: "".join(part + ("\n" if len(part) % 2 else " ") for part in parts).strip()
)
numbers = st.one_of(
    st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)
name_signs = string.ascii_letters + string.digits + "_./-: é"
names = st.text(name_signs, min_size=1, max_size=12).map(str.strip).filter(bool)
calls = st.builds(ToolCall, name=names, arguments=st.dictionaries(names, values, max_size=4))
messages = st.builds(
    Message,
    role=st.just("assistant"),
    content=texts,
    tool_calls=st.lists(calls, max_size=3).map(tuple),
)
thoughts = st.one_of(st.none(), texts)


@pytest.mark.parametrize("name", sorted(FORMATS))
@settings(max_examples=600, deadline=None)
@given(message=messages, thought=thoughts)
def test_parse_undoes_render(name: str, message: Message, thought: str | None) -> None:
    if name == "react":
        message = message.model_copy(update={"thought": thought})
    form = get_format(name)
    assert form.parse(form.render_reply(message)) == message


SEEDS = [
    Message(role="assistant", content="Shall I book it for 7 pm?\nOr later?"),
    Message(role="assistant", tool_calls=(ToolCall(name="FindBus", arguments={"to": "Oslo"}),)),
    Message(
        role="assistant",
        content="One moment.",
        tool_calls=(
            ToolCall(name="Market Trends.get", arguments={"n": -3, "deep": {"a": [1.5, None]}}),
            ToolCall(name="stop", arguments={}),
        ),
    ),
]
SIGNS = [
    '"',
    "'",
    "(",
    ")",
    "{",
    "}",
    "[[[[",
    "=",
    ",",
    "\\u12",
    "\\ud800",
    "\ud800",
    "\0",
    "\u2028",
]
PIECES = [
    *LABELS,
    *TRAPS,
    *SIGNS,
    "-" * 50,
    "1e999",
    "9" * 5000,
    "(" * 500,
    "[" * 500,
    "{'a':" * 99,
]


def mutate(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 6)):
        at, to = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        match rng.randrange(4):
            case 0:
                text = text[:at] + text[to:]
            case 1:
                text = text[:at] + rng.choice(PIECES) + text[at:]
            case 2:
                text = text[:at] + text[at:to] * 2 + text[to:]
            case _:
                text = text[:to]
    return text


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_mutated_output_never_raises(name: str) -> None:
    form = get_format(name)
    rng = random.Random(7)
    replies = [form.render_reply(seed) for seed in SEEDS]
    failed = 0
    for number in range(25_000):
        message = form.parse(mutate(replies[number % len(replies)], rng))
        assert message.role == "assistant"
        for call in message.tool_calls:
            assert (call.error is None) == (call.raw is None)
            failed += call.error is not None
        message.model_dump_json()
    assert failed > 1000


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_very_long_and_deep_output_is_refused_quickly(name: str) -> None:
    form = get_format(name)
    for text in ("[" * 2_000_000, "f(a=" * 400_000, "Action: " + "(" * 10**6, "x" * 3_000_000):
        form.parse(text)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_only_an_assistant_can_reply(name: str) -> None:
    with pytest.raises(
        FormatError, match="only an assistant's message is a reply, got role 'user'"
    ):
        get_format(name).render_reply(Message(role="user", content="hi"))


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_broken_call_is_not_rendered(name: str) -> None:
    broken = Message(role="assistant", tool_calls=(ToolCall(raw="f(", error="cut"),))
    with pytest.raises(FormatError, match=r"call that did not parse cannot be rendered: 'f\('"):
        get_format(name).render_reply(broken)


@pytest.mark.parametrize("name", ["dst", "json_calls", "python_calls", "system_calls"])
def test_a_thought_needs_react(name: str) -> None:
    with pytest.raises(FormatError, match=f"{name} has no place for a thought: 'hm'"):
        get_format(name).render_reply(Message(role="assistant", thought="hm"))


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("messages", [(), (Message(role="user"), Message(role="assistant"))])
def test_nothing_to_answer(name: str, messages: tuple[Message, ...]) -> None:
    with pytest.raises(FormatError, match="'c1' does not end with a user or tool message"):
        get_format(name).render(Conversation(id="c1", messages=messages))


def test_unknown_format_lists_the_known_ones() -> None:
    with pytest.raises(FormatError, match="no prompt format 'raect'; there are: react, dst"):
        get_format("raect")
