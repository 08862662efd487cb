"""`coalm infer` end to end, with a scripted model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coalm import jsonl
from coalm.engines.scripted_endpoint import Fault, ScriptedEndpoint
from coalm.types import Prompt


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
    ("arguments", "message"),
    [
        (["-i"], "--config"),
        (["-c", "a.yaml"], "add -i"),
        (["-c", "a.yaml", "--input", "a.jsonl"], "both --input and --output"),
        (["-c", "a.yaml", "-i", "--input", "a.jsonl", "--output", "b.jsonl"], "add -i"),
    ],
)
def test_what_is_missing_is_a_usage_error(arguments: list[str], message: str) -> None:
    done = infer("", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def think(prompt: Prompt) -> str:
    time.sleep(0.02)
    return f"Thought: Easy.\nSystem: {prompt[-1].content[-9:]}"


@pytest.fixture
def endpoint() -> Iterator[ScriptedEndpoint]:
    pytest.importorskip("openai")
    faults = [Fault(429, "{}"), None, Fault(500, "oops"), Fault(200, "{")] * 3
    with ScriptedEndpoint(think, faults) as made:
        yield made


@pytest.fixture
def remote(tmp_path: Path, endpoint: ScriptedEndpoint) -> Path:
    """An inference file for the endpoint, beside 60 prompts in `in.jsonl`; row 2 is none."""
    rows = [{"messages": [{"role": "user", "content": f"prompt {n:02}"}]} for n in range(60)]
    lines = [json.dumps(row) for row in rows]
    lines[1] = "nonsense"
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    path = tmp_path / "remote.yaml"
    path.write_text(
        "model:\n  model_name: any\nengine: REMOTE_VLLM\nremote_params:\n"
        f"  api_url: {endpoint.url}/chat/completions\n  num_workers: 4\n  max_retries: 9\n"
        "  retry_backoff_base: 0.01\n"
    )
    return path


def answer_file(config: Path, output: str) -> list[str]:
    folder = config.parent
    command = [sys.executable, "-m", "coalm", "infer", "-c", str(config)]
    return [*command, "--input", str(folder / "in.jsonl"), "--output", str(folder / output)]


def test_a_file_of_prompts_is_answered(remote: Path) -> None:
    done = subprocess.run(
        answer_file(remote, "out.jsonl"), capture_output=True, text=True, check=True
    )
    assert done.stderr.startswith(f"coalm: warning: {remote.parent / 'in.jsonl'}:2: not JSON")
    figures = [line.split() for line in done.stdout.splitlines()]
    assert ["answered", "59"] in figures
    assert ["rows", "that", "cannot", "be", "asked", "1"] in figures
    assert done.stdout.endswith(f"written to {remote.parent / 'out.jsonl'}\n")
    rows = [row for _, row in jsonl.read(remote.parent / "out.jsonl")]
    assert len(rows) == 60
    assert rows[59]["message"] == {"role": "assistant", "thought": "Easy.", "content": "prompt 59"}


def test_a_run_that_is_killed_goes_on_to_the_same_bytes(remote: Path) -> None:
    folder = remote.parent
    subprocess.run(answer_file(remote, "whole.jsonl"), capture_output=True, check=True)
    partial = folder / "out.jsonl.partial"
    for rows in (5, 20, 40):
        process = subprocess.Popen(
            answer_file(remote, "out.jsonl"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not partial.exists() or partial.read_bytes().count(b"\n") < rows:
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
        process.wait()
    last = subprocess.run(
        answer_file(remote, "out.jsonl"), capture_output=True, text=True, check=True
    )
    assert f"{folder / 'out.jsonl'}: " in last.stderr
    assert "of 60 answers are there" in last.stderr
    assert (folder / "out.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()
    assert not partial.exists()


def test_an_endpoint_that_is_not_there_is_one_line(remote: Path) -> None:
    words = ["remote_params.api_url=http://127.0.0.1:9", "remote_params.max_retries=0"]
    done = subprocess.run(
        [*answer_file(remote, "out.jsonl"), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("coalm: no answer to 20 prompts in a row, the last time because: http:/")
    assert "cannot be reached: " in line
