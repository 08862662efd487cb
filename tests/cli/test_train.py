"""`coalm train` and `coalm merge` as a user meets them: the real command line, a tiny model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from coalm.cli.chat import OVERRIDES
from coalm.cli.train import merge, train
from coalm.errors import MissingExtraError


def coalm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coalm", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "300"},
    )


@pytest.fixture
def recipe(tiny_model: Path, tmp_path: Path) -> Path:
    """A training file of three steps into the folder `run` beside it."""
    rows = [{"instruction": "Repeat.", "input": word, "output": word} for word in ("one", "two")]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"""
model: {{model_name: {tiny_model}, trust_remote_code: true}}
data: {{train: {{datasets: [{{dataset_path: {data}}}]}}}}
training: {{use_peft: true, output_dir: {tmp_path / "run"}, max_steps: 3, save_steps: 2}}
""",
        encoding="utf-8",
    )
    return path


def test_train_then_the_same_again_then_merge(recipe: Path) -> None:
    command = ("train", "-c", recipe, "training.learning_rate=0.01", "--training.seed", "7")
    run, whole = recipe.with_name("run"), recipe.with_name("whole")
    done = coalm(*command)
    assert done.returncode == 0, done.stderr
    assert "data.train" in done.stdout
    assert "step 3/3  loss" in done.stdout
    assert done.stdout.endswith(f"trained: {run}/adapter\ncurve:   {run}/loss.png\n")
    assert f"coalm: warning: {recipe}:2: model.trust_remote_code stays off" in done.stderr
    assert "Loading weights" not in done.stderr
    assert json.loads((run / "run.json").read_text())["config"]["training"]["seed"] == 7

    again = coalm(*command)
    assert again.returncode == 0
    assert f"{run} is finished already" in again.stdout

    other = coalm(*command, "training.max_steps=4")
    assert other.returncode == 1
    assert other.stderr.splitlines()[-1].startswith(
        f"coalm: {run} holds another run: training.max_steps was 3 and is 4; choose another"
    )

    merged = coalm("merge", run, "--out", whole)
    assert (merged.returncode, merged.stdout) == (0, f"{whole}\n"), merged.stderr
    assert (whole / "model.safetensors").is_file()


def test_plan_says_what_it_takes_and_trains_nothing(recipe: Path) -> None:
    planned = coalm("train", "--plan", "-c", recipe, "--gpu", "h200", "--devices", "2")
    assert planned.returncode == 0, planned.stderr
    assert "trained 16,384" in planned.stdout
    assert "GB on each H200 of 141 GB" in planned.stdout
    assert "counted with the model's tokenizer" in planned.stdout
    assert not recipe.with_name("run").exists()

    unknown = coalm("train", "--plan", "-c", recipe, "--gpu", "abacus")
    assert unknown.returncode == 1
    assert "no data sheet of 'abacus' is known; use one of L4," in unknown.stderr


def test_ctrl_c_saves_a_checkpoint_and_says_how_to_go_on(recipe: Path) -> None:
    log = recipe.with_name("run") / "log.jsonl"
    command = [sys.executable, "-m", "coalm", "train", "-c", str(recipe)]
    with subprocess.Popen(
        [*command, "training.max_steps=100000", "training.save_steps=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None and not (log.exists() and log.stat().st_size):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    (checkpoint,) = log.parent.glob("checkpoint-*")
    step = checkpoint.name.removeprefix("checkpoint-")
    assert errors.splitlines()[-1] == (
        f"stopped after step {step}; the checkpoint is in {log.parent}; the same command again "
        "goes on from it"
    )


@pytest.mark.parametrize("command", ["train", "merge"])
def test_a_missing_package_says_the_install_line(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def find_spec(name: str) -> object:
        return None if name == "peft" else object()

    monkeypatch.setattr("importlib.util.find_spec", find_spec)
    arguments = {"train": ["-c", str(recipe)], "merge": ["run", "--out", "whole"]}[command]
    app = typer.Typer()
    app.command(context_settings=OVERRIDES)(train)
    app.command()(merge)
    result = CliRunner().invoke(app, [command, *arguments])
    assert isinstance(result.exception, MissingExtraError)
    assert "peft is not installed" in str(result.exception)
    assert "pip install 'coalm[train]'" in str(result.exception)
