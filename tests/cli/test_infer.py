"""`coalm infer` end to end, with a scripted model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coalm import jsonl


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An inference file in Oumi's keys whose model says a line."""
    jsonl.write(tmp_path / "replies.jsonl", [{"text": "Thought: Easy.\nSystem: one two three"}])
    path = tmp_path / "infer.yaml"
    path.write_text(
        f"model:\n  model_name: {tmp_path / 'replies.jsonl'}\n  trust_remote_code: True\n"
        "generation:\n  max_new_tokens: 50\nengine: SCRIPTED\n"
    )
    return path


def infer(typed: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coalm", "infer", *arguments],
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    )


def test_the_model_of_the_file_answers(config: Path) -> None:
    done = infer("hi\n", "-i", "-c", config)
    assert done.returncode == 0
    assert done.stdout.endswith("You: hi\nThought: Easy.\nAssistant: one two three\nYou: \n")


def test_keys_of_the_file_can_be_overridden(config: Path) -> None:
    done = infer("hi\n", "-i", "-c", config, "--generation.max_new_tokens", "4")
    assert "Assistant: one\n" in done.stdout


def test_code_of_the_model_is_trusted_only_on_the_command_line(config: Path) -> None:
    warned = infer("", "-i", "-c", config)
    assert warned.stderr.startswith("coalm: warning: ")
    assert "--trust-remote-code" in warned.stderr
    assert infer("", "-i", "-c", config, "--trust-remote-code").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"), [(["-i"], "--config"), (["-c", "a.yaml"], "add -i")]
)
def test_what_is_missing_is_a_usage_error(arguments: list[str], message: str) -> None:
    done = infer("", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
