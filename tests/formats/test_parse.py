"""Model outputs as they really come, per format: what each is read as."""

import pytest

from coalm.formats import get_format
from coalm.types import Message, ToolCall

CALL = ToolCall(name="f", arguments={"a": 1})


def said(content: str = "", thought: str | None = None, *calls: ToolCall) -> Message:
    return Message(role="assistant", content=content, thought=thought, tool_calls=calls)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Thought: ok\nAction: f(a=1)", said("", "ok", CALL)),
        ("Thought 1: ok\nAction 1: [f(a=1)]\n", said("", "ok", CALL)),
        ("Thought: ok\nSystem: done\nmore", said("done\nmore", "ok")),
        ("just words", said("just words")),
        ("words first\nThought: t", said("words first", "t")),
        ("Thought: a\nThought: b\nSystem: c", said("c", "a\nb")),
        ("Action: f(a=1)\nObservation: invented\nSystem: x", said("", None, CALL)),
        ("System: hi\nUser: and me?", said("hi")),
        ("System: a\n\\Action: f(a=1)", said("a\nAction: f(a=1)")),
        ("", said()),
        ("Thought:", said("", "")),
    ],
)
def test_react(text: str, message: Message) -> None:
    assert get_format("react").parse(text) == message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Action: f(a=", "expected a value"),
        ("Thought: t\nAction: please search", "expected '('"),
        ("Action:", "no call after the label"),
        ("Action: []", "no call after the label"),
    ],
)
def test_react_broken_call(text: str, problem: str) -> None:
    (call,) = get_format("react").parse(text).tool_calls
    assert call.error is not None
    assert problem in call.error
    assert call.raw == text.rpartition("Action:")[2].strip()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('```\n[{"name": "f", "arguments": {"a": 1}}]\n```', said("", None, CALL)),
        ('```json\n[{"name": "f", "arguments": {"a": 1}}]\n```', said("", None, CALL)),
        ('[{"name": "f", "arguments": {"a": 1}}]', said("", None, CALL)),
        ('```[{"name": "f", "parameters": {"a": 1}}]```', said("", None, CALL)),
        ('{"name": "f", "arguments": "{\\"a\\": 1}"}', said("", None, CALL)),
        ("[{'name': 'f', 'arguments': {'a': 1}}]", said("", None, CALL)),
        ('{"tool_calls": [{"name": "f", "arguments": {"a": 1}}]}', said("", None, CALL)),
        ('{"tool_calls": null}', said()),
        ('Sure:\n```\n[\n  {"name": "f",\n   "arguments": {"a": 1}}\n]\n```',
         said("Sure:", None, CALL)),
        ("```\n[]\n```", said()),
        ("No function fits.", said("No function fits.")),
        ("Code:\n```python\nprint(1)\n```", said("Code:\n```python\nprint(1)\n```")),
        ("", said()),
    ],
)  # fmt: skip
def test_json_calls(text: str, message: Message) -> None:
    assert get_format("json_calls").parse(text) == message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('```\n[{"name": "f", "argum', "closing quote"),
        ('[{"arguments": {}}]', '"name" as text'),
        ('[{"name": "f", "arguments": [1]}]', "must be an object"),
        ("[1, 2]", '"name" as text'),
    ],
)
def test_json_calls_broken(text: str, problem: str) -> None:
    (call,) = get_format("json_calls").parse(text).tool_calls
    assert call.error is not None
    assert problem in call.error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[f(a=1)]", said("", None, CALL)),
        ("f(a=1)", said("", None, CALL)),
        ("```python\n[f(a=1)]\n```", said("", None, CALL)),
        ("I will look.\n[f(a=1)]", said("I will look.", None, CALL)),
        ("[]", said()),
        ("I need your city first.", said("I need your city first.")),
        ("Use [f] (or g).", said("Use [f] (or g).")),
    ],
)
def test_python_calls(text: str, message: Message) -> None:
    assert get_format("python_calls").parse(text) == message


def test_python_calls_broken() -> None:
    (call,) = get_format("python_calls").parse("[f(a=1, b=").tool_calls
    assert call.raw == "[f(a=1, b="
    assert call.error is not None
    assert "expected a value" in call.error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('System: {"domain": "d", "slot_values": {"s": "v"}}',
         said("", None, ToolCall(name="d", arguments={"s": "v"}))),
        ('{"domain": "d", "slot_values": {}}', said("", None, ToolCall(name="d"))),
        ("System: []", said()),
        ("System: hello", said("hello")),
    ],
)  # fmt: skip
def test_dst(text: str, message: Message) -> None:
    assert get_format("dst").parse(text) == message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('System: {"domain": "d"}', "a state needs"),
        ('System: {"domain": "d", "slot_values": {"s": "v', "closing quote"),
        ("System: [3]", "expected a state object"),
    ],
)
def test_dst_broken(text: str, problem: str) -> None:
    (call,) = get_format("dst").parse(text).tool_calls
    assert call.error is not None
    assert problem in call.error
