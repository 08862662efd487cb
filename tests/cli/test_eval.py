from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from coalm.cli.eval import app
from coalm.config import load_config
from coalm.errors import CoalmError, ConfigError, EvalError
from coalm.evals.config import EvalConfig
from coalm.evals.runs import INFO, ROWS, read_info, read_rows

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "apibank"
TODAY = '```\n[{"name": "GetToday", "arguments": {}}]\n```'


def call(*arguments: object) -> Result:
    """Run the command; an error of coalm is raised, as `coalm.cli.main` expects it."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, CoalmError):
        raise result.exception
    return result


@pytest.fixture
def scripted(tmp_path: Path) -> list[object]:
    """Arguments for nine answers without a model."""
    replies = tmp_path / "replies.jsonl"
    replies.write_text((json.dumps({"text": TODAY}) + "\n") * 9, encoding="utf-8")
    return ["engine=SCRIPTED", f"apibank.data_dir={FIXTURES}", "--model", replies]


def test_list() -> None:
    result = call("list")
    assert result.exit_code == 0
    assert "apibank  the next API call after a dialogue" in result.output


def test_a_run_is_made_scored_and_summed_up(tmp_path: Path, scripted: list[object]) -> None:
    result = call("run", "apibank", "--out", tmp_path / "run", *scripted)
    assert result.exit_code == 0, result.output
    assert "| l1       | run | 6       |" in result.stdout
    assert f"all figures: coalm eval report {tmp_path / 'run'}" in result.stdout
    assert result.stderr == ""
    assert [row.score is not None for row in read_rows(tmp_path / "run")] == [True] * 9


def test_options_are_keys_of_the_configuration(tmp_path: Path, scripted: list[object]) -> None:
    adapter = tmp_path / "adapter 1"
    call("run", *scripted, "--limit", 4, "--adapter", adapter, "--out", tmp_path / "run")
    config = read_info(tmp_path / "run").config
    assert (config.task, config.limit) == ("apibank", 4)
    assert config.model.adapter_model == str(adapter)
    assert config.generation.max_new_tokens == 512


def test_a_file_and_what_changes_it(tmp_path: Path, scripted: list[object]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"task: apibank\nlimit: 2\noutput_dir: {tmp_path / 'run'}\n"
        "model: {model_name: m}\ngeneration: {max_new_tokens: 7}\n",
        encoding="utf-8",
    )
    call("run", "-c", file, *scripted, "--limit", 3, "apibank.form=original", "seed=1")
    config = read_info(tmp_path / "run").config
    assert (config.limit, config.seed, config.apibank.form) == (3, 1, "original")
    assert config.generation.max_new_tokens == 7


def test_a_partial_run_goes_on(tmp_path: Path, scripted: list[object]) -> None:
    call("run", *scripted, "--out", tmp_path / "run")
    lines = (tmp_path / "run" / ROWS).read_bytes().splitlines(keepends=True)
    (tmp_path / "run" / ROWS).write_bytes(b"".join(lines[:7]) + lines[7][:99])
    result = call("run", *scripted, "--out", tmp_path / "run")
    assert f"{tmp_path / 'run'}: going on after 7 of 9 samples" in result.stderr
    assert len(read_rows(tmp_path / "run")) == 9


def test_failed_samples_are_told(tmp_path: Path, scripted: list[object]) -> None:
    (tmp_path / "replies.jsonl").write_text(json.dumps({"text": "a"}) + "\n", encoding="utf-8")
    result = call("run", *scripted, "--out", tmp_path / "run", "generation.batch_size=1")
    assert result.exit_code == 0
    assert "coalm: warning: apibank-l1-001 failed: the scripted engine has no" in result.stderr
    assert "8 of 9 samples have an error; the same command tries them again" in result.stderr


def test_score_needs_no_model(tmp_path: Path, scripted: list[object]) -> None:
    call("run", *scripted, "--out", tmp_path / "run")
    rows = read_rows(tmp_path / "run")
    (tmp_path / "replies.jsonl").unlink()
    (tmp_path / "run" / ROWS).write_text(
        "".join(r.model_copy(update={"score": None}).model_dump_json() + "\n" for r in rows),
        encoding="utf-8",
    )
    with pytest.raises(EvalError, match="no scores yet"):
        call("report", tmp_path / "run")
    result = call("score", tmp_path / "run")
    assert "| l1       | run | 6       |" in result.stdout
    assert read_rows(tmp_path / "run") == rows


def test_report_prints_markdown(tmp_path: Path, scripted: list[object]) -> None:
    call("run", *scripted, "--out", tmp_path / "a")
    call("run", *scripted, "--out", tmp_path / "b")
    result = call("report", tmp_path / "a", tmp_path / "b")
    assert result.stdout.startswith("# apibank\n")
    assert "b - a" in result.stdout


def test_report_writes_files(tmp_path: Path, scripted: list[object]) -> None:
    call("run", *scripted, "--out", tmp_path / "a")
    result = call("report", tmp_path / "a", "--out", tmp_path / "new" / "report")
    assert "report.md" in result.stdout
    assert "| l1       | a " in result.stdout
    folder = tmp_path / "new" / "report"
    assert (folder / "report.md").read_text(encoding="utf-8").startswith("# apibank\n")
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x"], "no model; give --model PATH, or an evaluation file with -c FILE"),
        (["--model", "m"], "no place for the results; give --out FOLDER, or an evaluation file"),
        (
            ["bfcl9", "--model", "m", "--out", "x"],
            "override 'task=bfcl9': task: expected 'apibank'",
        ),
        (["--model", "m", "--out", "x", "apibank.forms=hammer"], "did you mean 'apibank.form'?"),
        (["--model", "m", "--out", "x", "--limit", "0"], "limit: expected a number greater than"),
        (["-c", "no.yaml"], "no.yaml: no such file"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        call("run", *arguments)
    assert message in str(caught.value)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("command", ["score", "report"])
def test_a_folder_without_a_run(command: str, tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="not a run folder"):
        call(command, tmp_path)


def test_warnings_of_the_file_are_told(tmp_path: Path, scripted: list[object]) -> None:
    result = call("run", *scripted, "--out", tmp_path / "run", "model.trust_remote_code=true")
    assert "model.trust_remote_code stays off" in result.stderr


def test_the_recipe_has_the_settings_of_published_scores() -> None:
    config: Any = load_config(EvalConfig, ROOT / "configs" / "eval" / "apibank.yaml").config
    assert (config.apibank.form, config.apibank.levels, config.limit) == ("hammer", (1, 2), None)
    assert (config.generation.max_new_tokens, config.generation.temperature) == (512, 0.0)


def test_the_record_is_json_that_people_can_read(tmp_path: Path, scripted: list[object]) -> None:
    call("run", *scripted, "--out", tmp_path / "run")
    text = (tmp_path / "run" / INFO).read_text(encoding="utf-8")
    assert text.startswith('{\n  "settings": {\n')


def test_a_page_of_the_report(tmp_path: Path, scripted: list[object]) -> None:
    call("run", *scripted, "--out", tmp_path / "a")
    page = tmp_path / "new" / "report.html"
    result = call("report", tmp_path / "a", "--html", page)
    assert f"written: {page}" in result.stdout
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["apibank.form=original"], "apibank.form decides what the model is asked: run it again"),
        (["limit=3"], "limit decides what the model is asked"),
        (["apibank.frm=original"], "did you mean 'apibank.form'?"),
    ],
)
def test_scoring_again_changes_no_question(
    words: list[str], message: str, tmp_path: Path, scripted: list[object]
) -> None:
    call("run", *scripted, "--out", tmp_path / "run")
    with pytest.raises(CoalmError) as caught:
        call("score", tmp_path / "run", *words)
    assert message in str(caught.value)


def test_a_copy_is_scored(tmp_path: Path, scripted: list[object]) -> None:
    call("run", *scripted, "--out", tmp_path / "run")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(EvalError, match="taken: not empty; choose another --out"):
        call("score", tmp_path / "run", "--out", tmp_path / "taken")
    with pytest.raises(ConfigError, match="score takes one run with --out"):
        call("score", tmp_path / "run", tmp_path / "run", "--out", tmp_path / "copy")
    result = call("score", tmp_path / "run", "--out", tmp_path / "copy")
    assert "| l1       | copy | 6       |" in result.stdout
    assert read_rows(tmp_path / "copy") == read_rows(tmp_path / "run")
