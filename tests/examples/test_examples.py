"""The examples run as they stand, with their scripts; where SmolLM2 is at hand, with a model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coalm import jsonl
from coalm.types import Conversation

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", EXAMPLES / name, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_short_and_tested() -> None:
    files = sorted(EXAMPLES.glob("*.py"))
    tested = {"batch_calls.py", "mcp_agent.py", "mcp_server.py", "travel_agent.py"}
    asked_of_a_server = {"openai_client.py"}  # in tests/server/test_clients.py
    assert {file.name for file in files} == tested | asked_of_a_server
    for file in files:
        assert len(file.read_text(encoding="utf-8").splitlines()) < 60


def test_the_travel_agent_books() -> None:
    out = run("travel_agent.py")
    assert "'departure_time': '07:15'" in out
    assert '"reference_number": ' in out
    assert out.endswith("Agent: Done. Have a good trip!\n")


def test_the_agent_on_an_mcp_server_takes_notes() -> None:
    pytest.importorskip("mcp")
    noted, looked = run("mcp_agent.py").split("User: ")[1:]
    assert noted.splitlines()[1:] == [
        '  write_note gave {"result": "1 notes"}',
        "Agent: Noted.",
    ]
    assert "no note 'bread'; there are: milk" in looked
    assert looked.endswith("Agent: Nothing yet; there is only a note about milk.\n")


def answers(path: Path) -> list[Conversation]:
    return [Conversation.model_validate(row) for _, row in jsonl.read(path)]


def test_a_file_of_requests_is_answered_in_order(tmp_path: Path) -> None:
    target = tmp_path / "answers.jsonl"
    assert run("batch_calls.py", EXAMPLES / "requests.jsonl", target).startswith("4 answers")
    found = answers(target)
    assert [one.id for one in found] == ["r1", "r2", "r3", "r4"]
    assert [one.messages[-1].content for one in found[:3]] == [
        "The result is 18.4",
        "The result is 4.83",
        "The result is 27.56",
    ]
    assert "must be one of" in found[3].messages[-1].content


@pytest.mark.model
def test_a_real_model_answers(tmp_path: Path, smollm2: Path) -> None:
    jsonl.write(tmp_path / "in.jsonl", [{"id": "r1", "text": "How many euros are 20 dollars?"}])
    run("batch_calls.py", tmp_path / "in.jsonl", tmp_path / "out.jsonl", smollm2)
    (found,) = answers(tmp_path / "out.jsonl")
    assert len(found.messages) > 1
