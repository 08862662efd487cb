from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

llguidance = pytest.importorskip("llguidance")

from coalm.errors import FormatError  # noqa: E402
from coalm.formats import get_format  # noqa: E402
from coalm.tools import check_arguments  # noqa: E402
from coalm.types import (  # noqa: E402
    Conversation,
    GuidedPrompt,
    Message,
    ToolCall,
    ToolSchema,
)

BYTES = llguidance.LLTokenizer("byte")
CLOSERS = [ord(sign) for sign in "\"')]}\n`"]


def tool(name: str, required: tuple[str, ...] = (), **properties: Any) -> ToolSchema:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return ToolSchema(name=name, parameters=parameters)


TEXT, NUMBER = {"type": "string"}, {"type": "number"}
TOOLS = (
    tool("Now"),
    tool("Find", ("city", "kind"), near=TEXT, city=TEXT, kind={"enum": ["a b", 2]}, limit=NUMBER),
    tool(
        "Book.it",
        people={"type": "integer"},
        names={"type": "array", "items": TEXT},
        paid={"type": ["boolean", "null"]},
        seat={"type": "object", "properties": {"row": NUMBER, "side": TEXT}, "required": ["side"]},
        more={"type": "object"},
        other={"anyOf": [{"type": "integer"}, {"type": "array", "items": {}}]},
        anything={"type": "weird"},
    ),
)
FORMATS = ("react", "dst", "json_calls", "python_calls", "system_calls")
PLAIN = tuple(schema for schema in TOOLS if schema.name != "Book.it")


def matcher(name: str, tools: tuple[ToolSchema, ...]) -> Any:
    made = llguidance.LLMatcher(BYTES, get_format(name).grammar(tools), log_level=0)
    assert not made.is_error(), made.get_error()
    return made


def follows(name: str, text: str, tools: tuple[ToolSchema, ...] = TOOLS) -> bool:
    """Whether the grammar lets `text` be a whole answer."""
    reader = matcher(name, tools)
    return reader.try_consume_tokens(list(text.encode())) == len(text.encode()) and (
        reader.is_accepting()
    )


def walk(name: str, tools: tuple[ToolSchema, ...], seed: int) -> str:
    """An answer that follows the grammar and is random otherwise, but not long."""
    numbers, reader, said = random.Random(seed), matcher(name, tools), bytearray()
    while not reader.is_stopped() and not (reader.is_accepting() and numbers.random() < 0.3):
        mask = reader.compute_bitmask()
        allowed = [byte for byte in range(256) if mask[byte // 8] >> byte % 8 & 1]
        # letters mostly, so that the bytes are valid UTF-8
        allowed = [byte for byte in allowed if byte < 128]
        closing = [byte for byte in allowed if byte in CLOSERS]
        if not said and ord("[") in allowed:
            allowed = [ord("[")]  # or nearly every answer would be prose
        byte = numbers.choice(closing if closing and numbers.random() < 0.5 else allowed)
        assert reader.consume_token(byte)
        said.append(byte)
    return said.decode()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("seed", range(40))
def test_whatever_follows_the_grammar_can_be_read_and_fits_its_tool(name: str, seed: int) -> None:
    text = walk(name, TOOLS, seed)
    schemas = {schema.name: schema for schema in TOOLS}
    for call in get_format(name).parse(text).tool_calls:
        assert call.error is None, text
        assert check_arguments(schemas[call.name], call.arguments) == call.arguments, text


@pytest.mark.parametrize("name", FORMATS)
def test_walks_make_calls(name: str) -> None:
    found = [get_format(name).parse(walk(name, TOOLS, seed)).tool_calls for seed in range(40)]
    assert {call.name for calls in found for call in calls} == {"Now", "Find", "Book.it"}


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
CALLS = st.one_of(
    st.just(ToolCall(name="Now")),
    st.builds(
        lambda near, city, limit: ToolCall(
            name="Find", arguments={**near, "city": city, "kind": "a b", **limit}
        ),
        st.one_of(st.just({}), st.builds(lambda text: {"near": text}, TEXTS)),
        TEXTS,
        st.one_of(st.just({}), st.builds(lambda n: {"limit": n}, st.integers(-(10**9), 10**9))),
    ),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(CALLS, min_size=1, max_size=3))
@pytest.mark.parametrize("name", FORMATS)
def test_what_a_format_writes_follows_its_grammar(name: str, calls: list[ToolCall]) -> None:
    thought = "I know enough." if name == "react" else None
    message = Message(role="assistant", thought=thought, tool_calls=tuple(calls))
    assert follows(name, get_format(name).render_reply(message), PLAIN)


@pytest.mark.parametrize(
    ("name", "text", "right"),
    [
        ("react", "Thought: I greet.\nSystem: Hello!\n\nHow can I help? (1) or [2]", True),
        ("react", "System: Hello!", True),
        ("react", 'Action: Find(city="Oslo", kind="a b")', True),
        ("react", 'Thought: x\nAction: Find(city="Oslo", kind=2), Now()', True),
        ("react", "Thought: x\nAction: Now()\nObservation: 3", False),
        ("react", "Hello!", False),
        ("react", "Action: Later()", False),
        ("react", 'Action: Find(kind="a b", city="Oslo")', False),
        ("react", 'Action: Find(city="Oslo")', False),
        ("react", 'Action: Find(city=5, kind="a b")', False),
        ("react", 'Action: Find(city="Oslo", kind="c")', False),
        ("react", "System: Hello!\nAction: Now()", False),
        ("react", 'Action: Book.it(paid=None, seat={"side": "left"}, other=[1, {}])', True),
        ("react", "Action: Book.it(people=1.5)", False),
        ("react", 'Action: Book.it(seat={"row": 1})', False),
        ("python_calls", "Please tell me the city.", True),
        ("python_calls", "[]", True),
        ("python_calls", "I call [Now()]", False),
        ("json_calls", '```\n[{"name": "Now", "arguments": {}}]\n```', True),
        ("json_calls", "```\n[]\n```", True),
        ("json_calls", '```\n[{"name": "Book.it", "arguments": {"paid": true}}]\n```', True),
        ("json_calls", '```\n[{"name": "Book.it", "arguments": {"paid": "yes"}}]\n```', False),
        ("json_calls", "Hello!", False),
        ("dst", 'System: {"domain": "Now", "slot_values": {}}', True),
        ("dst", "System: []", True),
        ("dst", 'System: {"domain": "Later", "slot_values": {}}', False),
    ],
)
def test_answers_in_and_out_of_the_grammar(name: str, text: str, right: bool) -> None:
    assert follows(name, text) is right


@pytest.mark.parametrize("name", FORMATS)
def test_without_tools_there_are_no_calls(name: str) -> None:
    for seed in range(10):
        assert get_format(name).parse(walk(name, (), seed)).tool_calls == ()


@pytest.mark.parametrize("name", ["react", "python_calls"])
def test_a_name_that_the_notation_cannot_write_is_named(name: str) -> None:
    with pytest.raises(FormatError, match=r"name 'a\(b' cannot be written"):
        get_format(name).grammar([tool("a(b")])
    with pytest.raises(FormatError, match="name 'c=' cannot be written"):
        get_format(name).grammar([tool("a", **{"c=": TEXT})])


@pytest.mark.parametrize("name", FORMATS)
def test_a_guided_format_differs_by_its_prompts_only(name: str) -> None:
    plain, guided = get_format(name), get_format(name, guided=True)
    asked = Conversation(id="x", messages=(Message(role="user", content="Hi"),), tools=TOOLS)
    prompt = guided.render(asked)
    assert isinstance(prompt, GuidedPrompt)
    assert prompt == plain.render(asked)
    assert prompt.grammar == plain.grammar(TOOLS) == guided.grammar(TOOLS)
    assert guided.render_alpaca(asked) == plain.render_alpaca(asked)
    reply = Message(role="assistant", content="Hello!")
    assert guided.parse(guided.render_reply(reply)) == reply
    assert (guided.name, guided.version, guided.stop) == (plain.name, plain.version, plain.stop)


def held(grammar: str, text: str) -> bool:
    """Whether a grammar lets `text` be a whole answer."""
    reader = llguidance.LLMatcher(
        BYTES, llguidance.LLMatcher.grammar_from_lark(grammar), log_level=0
    )
    assert not reader.is_error(), reader.get_error()
    said = list(text.encode())
    return reader.try_consume_tokens(said) == len(said) and reader.is_accepting()


@pytest.mark.parametrize("name", FORMATS)
def test_a_call_can_be_demanded_and_its_number_limited(name: str) -> None:
    form, call = get_format(name), ToolCall(name="Now")
    plain = form.render_reply(Message(role="assistant", content="It is late."))
    one = form.render_reply(Message(role="assistant", tool_calls=(call,)))
    two = form.render_reply(Message(role="assistant", tool_calls=(call, call)))
    must = form.grammar(PLAIN, must_call=True)
    assert [held(must, text) for text in (plain, one, two)] == [False, True, True]
    single = form.grammar(PLAIN, must_call=True, most_calls=1)
    assert [held(single, text) for text in (plain, one, two)] == [False, True, False]
    none = form.render_reply(Message(role="assistant"))
    assert not held(must, none)


@pytest.mark.parametrize("name", FORMATS)
def test_a_reply_can_be_held_to_a_json_schema(name: str) -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
    grammar = get_format(name).json_grammar({**schema, "required": ["a"]})
    before = "Thought: I count.\nSystem: " if name == "react" else ""
    assert held(grammar, f'{before}{{"a":3}}') or held(grammar, f'{before}{{"a": 3}}')
    for wrong in ('{"a":"x"}', '{\n"a":3}', "three", "{}"):
        assert not held(grammar, before + wrong)
