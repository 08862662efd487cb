from __future__ import annotations

import json

import pytest

from coalm.data.shapes import Renderer, openai_message, openai_tool
from coalm.errors import FormatError
from coalm.formats import get_format
from coalm.types import Conversation, Message, ToolCall, ToolSchema

TOOL = ToolSchema(
    name="Find",
    description="Search",
    parameters={"type": "object", "properties": {"n": {"type": ["integer", "null"]}}},
)
CALL = ToolCall(name="Find", arguments={"n": 2, "é": None})
DIALOGUE = (
    Message(role="system", content="Today is Friday."),
    Message(role="user", content="Two, please"),
    Message(role="assistant", thought="I know.", tool_calls=(CALL, CALL)),
    Message(role="tool", name="Find", content="[1]"),
    Message(role="tool", name="Find", content="[2]"),
    Message(role="assistant", thought="Good.", content="Here."),
    Message(role="user", content="Again"),
    Message(role="assistant", tool_calls=(CALL,)),
)


def sample(count: int = len(DIALOGUE)) -> Conversation:
    meta = {"source": "sgd", "skill": "CRA", "format": "react", "group": "g"}
    return Conversation(id="a", messages=DIALOGUE[:count], tools=(TOOL,), meta=dict(meta))


def call(number: int) -> dict[str, object]:
    function = {"name": "Find", "arguments": {"n": 2, "é": None}}
    return {"id": f"call_{number}", "type": "function", "function": function}


def test_messages_are_those_of_chat_templates() -> None:
    messages = [json.loads(text) for text in Renderer({}).render(sample()).messages]
    assert messages == [
        {"role": "system", "content": "Today is Friday."},
        {"role": "user", "content": "Two, please"},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "I know.",
            "tool_calls": [call(1), call(2)],
        },
        {"role": "tool", "content": "[1]", "tool_call_id": "call_1", "name": "Find"},
        {"role": "tool", "content": "[2]", "tool_call_id": "call_2", "name": "Find"},
        {"role": "assistant", "content": "Here.", "reasoning_content": "Good."},
        {"role": "user", "content": "Again"},
        {"role": "assistant", "content": "", "tool_calls": [call(3)]},
    ]


def test_the_same_message_may_stand_at_another_place() -> None:
    renderer = Renderer({})
    whole = renderer.render(sample())
    moved = sample().model_copy(update={"messages": (DIALOGUE[1], DIALOGUE[7])})
    assert json.loads(renderer.render(moved).messages[1])["tool_calls"] == [call(1)]
    assert renderer.render(sample()) == whole


def test_ids_of_their_own_stay() -> None:
    own = ToolCall(name="Find", id="x7")
    row = openai_message(Message(role="assistant", tool_calls=(own, CALL)), 4)
    assert [item["id"] for item in row["tool_calls"]] == ["x7", "call_6"]  # type: ignore[index]
    result = openai_message(Message(role="tool", tool_call_id="x7", content="1"), 5)
    assert result == {"role": "tool", "content": "1", "tool_call_id": "x7"}


def test_tools_keep_every_key_of_their_schema() -> None:
    tool = ToolSchema.model_validate({**TOOL.model_dump(), "response": {"ok": None}})
    assert openai_tool(tool) == {"type": "function", "function": tool.model_dump()}
    shapes = Renderer({}).render(sample().model_copy(update={"tools": (TOOL, tool)}))
    assert json.loads(shapes.tools) == [openai_tool(TOOL), openai_tool(tool)]


def test_alpaca_texts_are_those_of_the_format() -> None:
    react = get_format("react")
    for count in (3, 6, 8):
        shapes = Renderer({}).render(sample(count))
        prompt = react.render_alpaca(sample(count - 1))
        assert json.loads(shapes.instruction) == prompt.instruction
        assert json.loads(shapes.input) == prompt.input
        assert json.loads(shapes.output) == react.render_reply(DIALOGUE[count - 1])
        assert shapes.prompt == len(prompt.instruction) + len(prompt.input)
        assert shapes.reply == len(json.loads(shapes.output))
        assert Conversation.model_validate_json(shapes.conversation) == sample(count)


def test_versions_name_the_formats_that_were_used() -> None:
    renderer = Renderer({})
    assert renderer.versions() == {}
    renderer.render(sample())
    assert renderer.versions() == {"react": get_format("react").version}


def test_an_unknown_format_is_named() -> None:
    odd = sample().model_copy(update={"meta": {"format": "xml"}})
    with pytest.raises(FormatError, match="no prompt format 'xml'"):
        Renderer({}).render(odd)
