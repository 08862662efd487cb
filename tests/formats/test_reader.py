"""Answers read while they are written: the same as read at once, however they are cut."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coalm.formats import FORMATS, get_format
from coalm.formats.reader import Delta, Reader
from coalm.types import Message, ToolCall


def read(reader: Reader, pieces: Iterable[str]) -> list[Delta]:
    found = [delta for piece in pieces for delta in reader.feed(piece)]
    return [*found, *reader.end()]


def joined(deltas: Iterable[Delta]) -> dict[str, Any]:
    """Thought and content as text, calls as [name, arguments as text]."""
    whole: dict[str, Any] = {"thought": "", "content": "", "calls": []}
    for kind, text in deltas:
        if kind == "call":
            whole["calls"].append([text, ""])
        elif kind == "arguments":
            whole["calls"][-1][1] += text
        else:
            whole[kind] += text
    return whole


def as_read(message: Message) -> dict[str, Any]:
    calls = [
        [call.name, json.dumps(call.arguments, ensure_ascii=False)] for call in message.tool_calls
    ]
    return {"thought": message.thought or "", "content": message.content, "calls": calls}


def cut_up(text: str, places: Sequence[int]) -> list[str]:
    ends = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[start:end] for start, end in pairwise(ends)]


TRAPS = ["Thought:", "Action: ", "User 2:", "\\Action:", "\\\\User:", "```", "[f(a=1)]", "[", "f("]
words = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12), st.sampled_from(TRAPS)
)
texts = st.lists(words, max_size=5).map(
    lambda parts: "".join(part + ("\n" if len(part) % 2 else " ") for part in parts).strip()
)
numbers = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
names = st.text("abcXYZ012_./-: é", min_size=1, max_size=9).map(str.strip).filter(bool)
calls = st.builds(ToolCall, name=names, arguments=st.dictionaries(names, values, max_size=3))
messages = st.builds(
    Message,
    role=st.just("assistant"),
    content=texts,
    tool_calls=st.lists(calls, max_size=3).map(tuple),
)
places = st.lists(st.integers(0, 10_000), max_size=12)


@pytest.mark.parametrize("name", sorted(FORMATS))
@settings(max_examples=200, deadline=None)
@given(message=messages, thought=st.none() | texts, places=places)
def test_what_a_format_writes_is_read_as_parse_reads_it(
    name: str, message: Message, thought: str | None, places: list[int]
) -> None:
    form = get_format(name)
    if name == "react":
        message = message.model_copy(update={"thought": thought})
    text = form.render_reply(message)
    assert joined(read(form.reader(), cut_up(text, places))) == as_read(message)


lines = st.lists(
    st.one_of(words, st.sampled_from(['\nAction: f(a="', '", b=[1, {"c": ', "}])", "\n", ", g()"])),
    max_size=12,
).map("".join)


@pytest.mark.parametrize("name", sorted(FORMATS))
@settings(max_examples=200, deadline=None)
@given(text=lines, places=places)
def test_any_text_is_read_the_same_however_it_is_cut(
    name: str, text: str, places: list[int]
) -> None:
    form = get_format(name)
    at_once = joined(read(form.reader(), [text]))
    assert joined(read(form.reader(), cut_up(text, places))) == at_once
    assert joined(read(form.reader(), text)) == at_once
    parsed = form.parse(text)
    if not any(call.error for call in parsed.tool_calls):
        assert at_once == as_read(parsed)


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        ('Action: F(city="San J', "", [["F", '{"city": "San J']]),
        ('Action: F(city="a\\', "", [["F", '{"city": "a\\']]),
        ('Action: F(city="a\\u00', "", [["F", '{"city": "a\\u00']]),
        ("Action: F(a=[1, 2", "", [["F", '{"a": [1, 2']]),
        ("Action: F(a=1, b", "", [["F", '{"a": 1b']]),
        ("Action: F(a=1), G(b=", "", [["F", '{"a": 1}'], ["G", "{b="]]),
        ("Action: F(a=1), G", "G", [["F", '{"a": 1}']]),
        ("Action: Find", "Find", []),
        ("Action: [F(a=1), G()", "", [["F", '{"a": 1}'], ["G", "{}"]]),
        ("Action: None\nSystem: Hello", "None\nHello", []),
        ("Action: I search (because I must)", "I search (because I must)", []),
        ("Action: F(a=1) and so on", "and so on", [["F", '{"a": 1}']]),
        ("Action: F(city=San Jose, b=2)", "", [["F", '{"city": San Jose, b=2)']]),
        ("Action: F(a=1, a=2)", "", [["F", '{"a": 1a=2)']]),
        ("Action: F(a=1 b=2)", "", [["F", '{"a": 1 b=2)']]),
        ("Action: F(a='it''s')", "", [["F", '{"a": "it"\'s\')']]),
        (
            "Action: F(a=True, b=None, c='x\"y')",
            "",
            [["F", '{"a": true, "b": null, "c": "x\\"y"}']],
        ),
        ("Action: F(a=1)\nObservation: [1]\nSystem: no", "", [["F", '{"a": 1}']]),
        ("Action:", "", []),
        ("Action: F(a='\\ud83d\\ude00', b='\\ud83d')", "", [["F", '{"a": "😀", "b": "�"}']]),
        ("Hi.\nAction: F()\nAction: G()\nSystem: Bye", "Hi.\nBye", [["F", "{}"], ["G", "{}"]]),
    ],
)
def test_what_is_cut_off_or_cannot_be_read_is_not_lost(
    text: str, content: str, calls: list[list[str]]
) -> None:
    at_once = joined(read(get_format("react").reader(), [text]))
    assert at_once == {"thought": "", "content": content, "calls": calls}
    assert joined(read(get_format("react").reader(), text)) == at_once


def test_arguments_go_on_as_they_come() -> None:
    reader = get_format("react").reader()
    told = [
        [*reader.feed(piece)]
        for piece in ("Thought: I ", "look.\nAct", "ion: F(c", 'ity="San', " Jos", 'é", n=[1', "])")
    ]
    assert told == [
        [("thought", "I")],
        [("thought", " look.")],
        [],
        [("call", "F"), ("arguments", "{"), ("arguments", '"city": "'), ("arguments", "San")],
        [("arguments", " Jos")],
        [("arguments", "é"), ("arguments", '"'), ("arguments", ', "n": ')],
        [("arguments", "[1]"), ("arguments", "}")],
    ]


def test_without_calls_an_action_is_a_reply() -> None:
    for name, text, content in (
        ("react", "Thought: t\nAction: F(a=1)\nSystem: x", "F(a=1)\nx"),
        ("json_calls", '```\n[{"name": "F"}]\n```', '```\n[{"name": "F"}]\n```'),
        ("python_calls", "[F()]", "[F()]"),
    ):
        found = joined(read(get_format(name).reader(calls=False), text))
        assert (found["content"], found["calls"]) == (content, [])


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_long_answers_are_read_in_little_time(name: str) -> None:
    rows = [
        {"name": f"place {n}", "open": [n, {"till": None}], "note": 'a "b" c'} for n in range(300)
    ]
    call = ToolCall(name="Save", arguments={"rows": rows, "text": "x\n" * 3000})
    text = get_format(name).render_reply(Message(role="assistant", tool_calls=(call,)))
    noise = random.Random(0)
    pieces = cut_up(text, [noise.randrange(len(text)) for _ in range(len(text) // 4)])
    start = time.process_time()
    found = joined(read(get_format(name).reader(), pieces))
    assert json.loads(found["calls"][0][1]) == call.arguments
    assert time.process_time() - start < 5.0
