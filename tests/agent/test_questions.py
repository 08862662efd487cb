"""The input of `coalm infer`: three forms, and rows that are none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from coalm.agent.questions import read_conversation, read_questions
from coalm.errors import DataError
from coalm.formats import get_format
from coalm.types import ChatTurn, Conversation, Message, ToolCall, ToolSchema

REACT = get_format("react")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TALK = Conversation(
    id="talk",
    messages=(
        Message(role="system", content="Today is Friday."),
        Message(role="user", content="Weather in Oslo?"),
        Message(
            role="assistant",
            tool_calls=(ToolCall(name="GetWeather", arguments={"city": "Oslo"}, id="c1"),),
        ),
        Message(role="tool", content="[]", tool_call_id="c1"),
    ),
    tools=(ToolSchema(name="GetWeather", description="Forecast", parameters=SCHEMA),),
)
OPENAI = {
    "id": 7,
    "model": "passed over",
    "messages": [
        {"role": "developer", "content": "Today is Friday."},
        {"role": "user", "content": [{"type": "text", "text": "Weather in Oslo?"}]},
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "GetWeather", "arguments": '{"city": "Oslo"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "[]"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "GetWeather", "description": "Forecast", "parameters": SCHEMA},
        }
    ],
}


def write(path: Path, *rows: Any) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_our_rows_and_openai_s_are_the_same_prompt(tmp_path: Path) -> None:
    ours = {**TALK.model_dump(mode="json", exclude_defaults=True), "meta": {"source": "x"}}
    as_text = {**OPENAI, "tools": json.dumps(OPENAI["tools"])}
    first, second, third = read_questions(write(tmp_path / "a.jsonl", ours, OPENAI, as_text), REACT)
    assert first.prompt == second.prompt == third.prompt == REACT.render(TALK)
    assert (first.id, second.id) == ("talk", "7")


def test_a_prompt_is_given_as_it_is(tmp_path: Path) -> None:
    (question,) = read_questions(write(tmp_path / "a.jsonl", {"prompt": " Say hi. "}), REACT)
    assert question == (0, "1", (ChatTurn("user", " Say hi. "),), "")


def test_places_count_rows_and_ids_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"prompt": "a"}, "", "nonsense", {"id": "x", "prompt": "b"})
    found = list(read_questions(path, REACT))
    assert [(q.place, q.id, bool(q.fault)) for q in found] == [
        (0, "1", False),
        (1, "3", True),
        (2, "x", False),
    ]


def test_a_compressed_file_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"prompt": "a"}\n'))
    assert [q.prompt for q in read_questions(path, REACT)] == [(ChatTurn("user", "a"),)]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ('{"prompt": ', "not JSON: "),
        ("[1]", "expected a JSON object, got list"),
        ({"text": "a"}, "a row has a list `messages` or a text `prompt`"),
        ({"prompt": 3}, "a row has a list `messages` or a text `prompt`"),
        ({"messages": []}, "conversation '1' does not end with a user or tool message"),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            "conversation '1' does not end with a user or tool message",
        ),
        ({"messages": [{"role": "bot", "content": "a"}]}, "messages.0.role: Input should be"),
        ({"messages": ["a"]}, "messages.0: Input should be"),
        (
            {"messages": [{"role": "user", "content": "a", "nmae": "b"}]},
            "messages.0.nmae: Extra inputs are not permitted",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            'messages: content that is not text: {"type": "image_url"}',
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{"}}]}]},
            "messages: arguments of a call are not JSON: ",
        ),
        ({"messages": [{"role": "user", "content": "a"}], "tools": [3]}, "tools.0: Input should"),
        (
            {"messages": [{"role": "user", "content": "a"}], "tools": 3},
            "tools: expected a list, got 3",
        ),
        ({"messages": [{"role": "user", "content": "a"}], "tools": "["}, "tools: not JSON: "),
    ],
)
def test_a_row_that_cannot_be_asked_is_named(tmp_path: Path, row: Any, fault: str) -> None:
    path = write(tmp_path / "a.jsonl", row)
    (question,) = read_questions(path, REACT)
    assert question.fault.startswith(f"{path}:1: {fault}")
    assert "\n" not in question.fault


def test_bytes_that_are_no_text_are_a_fault_of_their_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"prompt": "\xff"}\n{"prompt": "b"}\n')
    bad, good = read_questions(path, REACT)
    assert bad.fault.startswith(f"{path}:1: not JSON: ")
    assert not good.fault


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        list(read_questions(tmp_path / "none.jsonl", REACT))


def test_messages_of_clients_are_read_with_what_they_send_back() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "F", "arguments": '{"a": "San'}}
    row = {
        "messages": [
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "annotations": [],
                "reasoning_content": "I look.",
                "tool_calls": [call],
            },
        ]
    }
    _, said = read_conversation(row, "x").messages
    assert (said.thought, said.content) == ("I look.", "")
    (broken,) = said.tool_calls
    assert (broken.raw, broken.id) == ('{"a": "San', "1")
    assert broken.error is not None
    assert broken.error.startswith("arguments of a call are not JSON: ")
