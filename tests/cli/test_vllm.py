"""`coalm vllm-template`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from coalm.chat_template import template_text
from coalm.cli.main import app
from coalm.errors import CoalmError
from coalm.server.vllm_template import vllm_template

RUNNER = CliRunner()


def test_a_family_by_name_is_printed() -> None:
    done = RUNNER.invoke(app, ["vllm-template", "--chat-template", "llama3_1"])
    assert done.exit_code == 0
    assert done.stdout == vllm_template("react", template_text("llama3_1")) + "\n"


def test_the_template_of_a_model(tmp_path: Path, tiny_model: Path) -> None:
    out = tmp_path / "coalm.jinja"
    words = ["vllm-template", "--model", str(tiny_model), "--format", "json_calls", "-o", str(out)]
    done = RUNNER.invoke(app, words)
    assert done.exit_code == 0, done.output
    # Jinja drops the line end at the end of a file
    assert out.read_text() == vllm_template("json_calls", template_text("chatml")) + "\n"
    assert done.stdout.startswith(f"vllm serve {tiny_model} --chat-template {out} --enable-auto")
    assert "--tool-call-parser coalm_json_calls" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Give --model, or --chat-template"),
        (["--chat-template", "lama3"], "did you mean llama3"),
        (["--model", "/nowhere"], "no tokenizer can be loaded from /nowhere"),
        (["--chat-template", "chatml", "--prompts", "/nowhere.txt"], "/nowhere.txt cannot be read"),
    ],
)
def test_mistakes(words: list[str], said: str) -> None:
    done = RUNNER.invoke(app, ["vllm-template", *words])
    assert isinstance(done.exception, CoalmError)
    assert said in str(done.exception)
