from __future__ import annotations

import pytest

from coalm.formats import get_format
from coalm.types import Conversation, Message, ToolSchema

TOOL = ToolSchema(
    name="find_song",
    description="Look for songs.",
    parameters={"properties": {"genre": {"type": "string", "description": "Kind of music"}}},
)


def prompt(name: str, tool_text: str | None) -> str:
    conversation = Conversation(
        id="a",
        messages=(Message(role="user", content="Any jazz?"),),
        tools=(TOOL,),
        meta={"tool_text": tool_text} if tool_text else {},
    )
    return get_format(name).render(conversation)[0].content


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("react", "1. find_song"),
        ("json_calls", '[{"name": "find_song"}]'),
        ("python_calls", '[{"name": "find_song"}]'),
        ("system_calls", "[{'name': 'find_song'}]"),
    ],
)
def test_functions_can_be_shown_by_name_alone(name: str, line: str) -> None:
    text = prompt(name, "names")
    assert line in text.splitlines()
    assert "Kind of music" not in text
    assert "Kind of music" in prompt(name, None)
    assert prompt(name, "full") == prompt(name, None)


def test_a_dialogue_state_always_lists_the_slots() -> None:
    assert prompt("dst", "names") == prompt("dst", None)
    assert "find_song: genre" in prompt("dst", "names")


def test_functions_can_be_shown_by_signature() -> None:
    assert "1. find_song(genre?)" in prompt("react", "signatures").splitlines()
    assert "Kind of music" not in prompt("react", "signatures")
    for name in ("json_calls", "python_calls", "system_calls"):
        assert prompt(name, "signatures") == prompt(name, "full")
