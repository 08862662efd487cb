from __future__ import annotations

import json
from typing import Any

import pytest

from coalm.errors import ToolError
from coalm.tools import Tool, Toolbox, check_arguments
from coalm.types import ToolCall, ToolSchema

BOOK = ToolSchema(
    name="BookTable",
    parameters={
        "type": "object",
        "properties": {
            "restaurant": {"type": "string"},
            "party_size": {"type": "integer", "enum": [1, 2, 3, 4]},
            "outside": {"type": "boolean"},
        },
        "required": ["restaurant"],
    },
)


def schema(**properties: Any) -> ToolSchema:
    return ToolSchema(name="f", parameters={"type": "object", "properties": properties})


def test_a_call_becomes_a_tool_message_with_json() -> None:
    box = Toolbox(
        [Tool(BOOK, lambda restaurant, party_size=2: [{"r": restaurant, "n": party_size}])]
    )
    call = ToolCall(name="BookTable", arguments={"restaurant": "Café", "party_size": "4"}, id="c1")
    message = box.execute(call)
    assert (message.role, message.name, message.tool_call_id) == ("tool", "BookTable", "c1")
    assert message.content == '[{"r": "Café", "n": 4}]'
    assert box.schemas == (BOOK,)


def test_a_text_result_is_the_content_itself() -> None:
    box = Toolbox([Tool(ToolSchema(name="hello"), lambda: "Hello!")])
    assert box.execute(ToolCall(name="hello")).content == "Hello!"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (
            ToolCall(name="BookTabel"),
            "there is no tool 'BookTabel'; did you mean 'BookTable'?",
        ),
        (ToolCall(name="zzz"), "there is no tool 'zzz'; known are: BookTable"),
        (ToolCall(name="BookTable"), "BookTable: missing argument 'restaurant'"),
        (
            ToolCall(name="BookTable", arguments={"restaurant": "A", "party_sise": 2}),
            "BookTable: unknown argument 'party_sise'; did you mean 'party_size'?",
        ),
        (
            ToolCall(name="BookTable", arguments={"restaurant": "A", "party_size": "many"}),
            "BookTable: argument 'party_size' must be an integer, got 'many'",
        ),
        (
            ToolCall(name="BookTable", arguments={"restaurant": "A", "party_size": 9}),
            "BookTable: argument 'party_size' must be one of [1, 2, 3, 4], got 9",
        ),
        (
            ToolCall(name="", raw="BookTable(", error="unclosed bracket"),
            "the call could not be read: unclosed bracket",
        ),
    ],
)
def test_wrong_calls_are_observations(call: ToolCall, error: str) -> None:
    box = Toolbox([Tool(BOOK, lambda **_: None)])
    assert json.loads(box.execute(call).content) == {"error": error}


def test_a_toolbox_without_tools_says_so() -> None:
    content = Toolbox([]).execute(ToolCall(name="f")).content
    assert json.loads(content) == {"error": "there is no tool 'f'; known are: none"}


def test_failing_tools_are_observations() -> None:
    def full() -> None:
        raise ToolError("no table is free")

    def broken() -> None:
        raise KeyError("seats")

    box = Toolbox([Tool(ToolSchema(name=f.__name__), f) for f in (full, broken)])
    assert json.loads(box.execute(ToolCall(name="full")).content) == {"error": "no table is free"}
    content = box.execute(ToolCall(name="broken")).content
    assert json.loads(content) == {"error": "broken failed: KeyError: 'seats'"}


@pytest.mark.parametrize("result", [{1, 2}, float("nan"), object()])
def test_a_result_that_is_not_json_is_an_observation(result: Any) -> None:
    box = Toolbox([Tool(ToolSchema(name="odd"), lambda: result)])
    error = json.loads(box.execute(ToolCall(name="odd")).content)["error"]
    assert error.startswith("odd returned something that is not JSON: ")


def test_call_raises_what_execute_tells() -> None:
    with pytest.raises(ToolError, match="missing argument 'restaurant'"):
        Toolbox([Tool(BOOK, lambda **_: None)]).call("BookTable", {})


def test_two_tools_cannot_share_a_name() -> None:
    with pytest.raises(ToolError, match="two tools are named 'BookTable'; names must differ"):
        Toolbox([Tool(BOOK, lambda: None)] * 2)


@pytest.mark.parametrize(
    ("spec", "value", "expected"),
    [
        ({"type": "integer"}, "4", 4),
        ({"type": "integer"}, " -4 ", -4),
        ({"type": "integer"}, 4.0, 4),
        ({"type": "number"}, "2.5", 2.5),
        ({"type": "number"}, 2, 2),
        ({"type": "boolean"}, "True", True),
        ({"type": "boolean"}, "false", False),
        ({"type": "string"}, 94103, "94103"),
        ({"type": "null"}, None, None),
        ({"type": "array", "items": {"type": "integer"}}, ["1", 2], [1, 2]),
        (
            {"type": "object", "properties": {"n": {"type": "integer"}}},
            {"n": "1", "m": 2},
            {"n": 1, "m": 2},
        ),
        ({"type": ["integer", "string"]}, "2", "2"),
        ({"type": ["integer", "null"]}, "2", 2),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, None, None),
        ({"oneOf": [{"type": "boolean"}, {"type": "integer"}]}, "7", 7),
        ({"enum": ["a", "b"]}, "b", "b"),
        ({"type": "a kind of ours"}, {"any": "thing"}, {"any": "thing"}),
        ({}, [1], [1]),
    ],
)
def test_values_are_brought_to_their_type(spec: Any, value: Any, expected: Any) -> None:
    found = check_arguments(schema(x=spec), {"x": value})["x"]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("spec", "value", "reason"),
    [
        ({"type": "integer"}, True, "must be an integer, got True"),
        ({"type": "integer"}, 2.5, "must be an integer, got 2.5"),
        ({"type": "number"}, "1e5", "must be a number, got '1e5'"),
        ({"type": "number"}, False, "must be a number, got False"),
        ({"type": "boolean"}, 1, "must be true or false, got 1"),
        ({"type": "string"}, ["a"], r"must be a string, got \['a'\]"),
        ({"type": "string"}, True, "must be a string, got True"),
        ({"type": "array"}, "a", "must be a list, got 'a'"),
        ({"type": "object"}, "a", "must be an object, got 'a'"),
        ({"type": "null"}, 0, "must be null, got 0"),
        ({"type": "array", "items": {"type": "integer"}}, ["a"], "must be an integer, got 'a'"),
        (
            {"type": ["integer", "null"]},
            "a",
            "must be an integer, got 'a' or must be null, got 'a'",
        ),
        ({"enum": ["a"]}, "b", r"must be one of \['a'\], got 'b'"),
    ],
)
def test_values_of_another_type_are_named(spec: Any, value: Any, reason: str) -> None:
    with pytest.raises(ToolError, match=f"f: argument 'x' {reason}"):
        check_arguments(schema(x=spec), {"x": value})
