from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coalm import jsonl
from coalm.agent.session import list_sessions, load_session, save_session
from coalm.errors import DataError
from coalm.types import Conversation, Message, ToolCall, ToolSchema

TALK = Conversation(
    id="trip",
    messages=(
        Message(role="user", content="a table\nfor two \ud83d"),
        Message(
            role="assistant",
            thought="t",
            tool_calls=(
                ToolCall(name="f", arguments={"a": None, "b": [1, {"c": False}]}, id="1"),
                ToolCall(raw="g(", error="expected a value"),
            ),
        ),
        Message(role="tool", content="", name="f", tool_call_id="1"),
    ),
    tools=(
        ToolSchema.model_validate({"name": "f", "response": {"x": None}}),
        ToolSchema(name="g", parameters={"type": "object", "properties": {"a": {}}}),
    ),
    meta={"stops": [], "none": None},
)


@pytest.mark.parametrize("talk", [TALK, Conversation(id="empty")])
def test_a_loaded_session_is_the_saved_one(tmp_path: Path, talk: Conversation) -> None:
    save_session(tmp_path / "new" / "a.jsonl", talk)
    assert load_session(tmp_path / "new" / "a.jsonl") == talk


def test_saving_replaces_what_was_there(tmp_path: Path) -> None:
    for number in range(3):
        save_session(tmp_path / "a.jsonl", Conversation(id=str(number)))
    assert load_session(tmp_path / "a.jsonl").id == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_session_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"session .*/file/a\.jsonl cannot be written: "):
        save_session(tmp_path / "file" / "a.jsonl", TALK)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "a.jsonl: a session file holds one conversation, this one 0"),
        ([{"id": "a"}, {"id": "b"}], "a.jsonl: a session file holds one conversation, this one 2"),
        ([{"messages": []}], "a.jsonl: not a conversation: id: Field required"),
        (
            [{"id": "a", "messages": [{"role": "bot"}]}],
            "a.jsonl: not a conversation: messages.0.role: Input should be",
        ),
    ],
)
def test_a_file_that_is_no_session_says_why(
    tmp_path: Path, rows: list[dict[str, object]], message: str
) -> None:
    jsonl.write(tmp_path / "a.jsonl", rows)
    with pytest.raises(DataError) as caught:
        load_session(tmp_path / "a.jsonl")
    assert message in str(caught.value)


def test_a_missing_session_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl: no such file"):
        load_session(tmp_path / "a.jsonl")


def test_sessions_are_listed_newest_first_without_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_text("no JSON")
    (tmp_path / "readme.txt").write_text("")
    for age, name in enumerate(["new", "old"]):
        save_session(tmp_path / f"{name}.jsonl", TALK)
        os.utime(tmp_path / f"{name}.jsonl", (1e9 - age, 1e9 - age))
    save_session(tmp_path / "empty.jsonl", Conversation(id="x"))
    listed = [(s.path.name, s.messages, s.opening) for s in list_sessions(tmp_path)]
    assert listed == [
        ("empty.jsonl", 0, ""),
        ("new.jsonl", 3, TALK.messages[0].content),
        ("old.jsonl", 3, TALK.messages[0].content),
    ]


def test_no_folder_means_no_sessions(tmp_path: Path) -> None:
    assert list_sessions(tmp_path / "none") == []


def test_a_kill_leaves_a_whole_session(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from coalm.agent.session import save_session
from coalm.types import Conversation, Message
talk = Conversation(id="talk")
while True:
    talk = talk.extended(Message(role="user", content="x" * 1000))
    save_session(Path({str(tmp_path / "a.jsonl")!r}), talk)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while not (tmp_path / "a.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    process.kill()
    process.wait()
    talk = load_session(tmp_path / "a.jsonl")
    assert len(talk.messages) > 1
    assert {len(message.content) for message in talk.messages} == {1000}
