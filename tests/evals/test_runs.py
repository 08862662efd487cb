from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coalm.errors import DataError, EvalError
from coalm.evals.apibank.task import ApiBank
from coalm.evals.base import SampleResult
from coalm.evals.config import EvalConfig
from coalm.evals.runs import (
    INFO,
    ROWS,
    adopt_task,
    describe,
    open_run,
    read_info,
    read_rows,
    write_rows,
)

FIXTURES = Path(__file__).parents[1] / "fixtures" / "apibank"
ROW = SampleResult(
    id="apibank-l1-000",
    groups=("l1",),
    prompt_hash="0",
    raw=("a\ud800\x00", "中"),
    finish_reasons=("stop",),
    conversation=None,
    error="half a sign: \ud83d",
    score=None,
    seconds=0.5,
    prompt_tokens=1,
    completion_tokens=2,
)


def settings(**changes: Any) -> EvalConfig:
    given = {"model": {"model_name": "m"}, "apibank": {"data_dir": FIXTURES}, "output_dir": "out"}
    return EvalConfig.model_validate({**given, **changes})


def test_rows_survive_the_disk_whatever_the_text(tmp_path: Path) -> None:
    write_rows(tmp_path, [ROW])
    assert read_rows(tmp_path) == [ROW]


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    (tmp_path / ROWS).write_text('\n{"id": 3}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"samples.jsonl:2: no result row: id: Input should be"):
        read_rows(tmp_path)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match=r"not a run folder: run.json cannot be read: No such"):
        read_info(tmp_path)


def test_a_record_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / INFO).write_text('{"lr": 1}', encoding="utf-8")
    with pytest.raises(EvalError, match=r"run.json: not the record of a run: Field required"):
        read_info(tmp_path)


def test_settings_of_another_coalm_are_named(tmp_path: Path) -> None:
    config = settings()
    info = describe(config, ApiBank(config.apibank), 9)
    old = info.model_copy(
        update={"settings": {**info.settings, "temper": 1}, "environment": {"coalm": "0.0.1"}}
    )
    with pytest.raises(EvalError, match=r"temper: Extra inputs .*\(made with coalm 0.0.1\)"):
        _ = old.config


def test_sections_of_other_tasks_make_no_other_run(tmp_path: Path) -> None:
    config = settings()
    task = ApiBank(config.apibank)
    open_run(tmp_path, describe(config, task, 9))
    assert set(read_info(tmp_path).settings) & {"apibank", "heldout"} == {"apibank"}
    other = settings(heldout={"path": "elsewhere.jsonl"})
    assert open_run(tmp_path, describe(other, task, 9)) == []


def test_no_key_of_an_endpoint_is_written(tmp_path: Path) -> None:
    config = settings(engine="OPENAI", remote_params={"api_key": "sk-1234"})
    open_run(tmp_path, describe(config, ApiBank(config.apibank), 9))
    assert "sk-1234" not in (tmp_path / INFO).read_text(encoding="utf-8")


def test_scoring_with_a_new_version_is_noted(tmp_path: Path) -> None:
    class Newer(ApiBank):
        version = "2"

    config = settings()
    open_run(tmp_path, describe(config, ApiBank(config.apibank), 9))
    adopt_task(tmp_path, read_info(tmp_path), Newer(config.apibank))
    assert read_info(tmp_path).task["version"] == "2"


def test_a_run_made_from_other_data_is_not_scored_again(tmp_path: Path) -> None:
    config = settings()
    open_run(tmp_path, describe(config, ApiBank(config.apibank), 9))
    record = json.loads((tmp_path / INFO).read_text(encoding="utf-8"))
    record["task"]["data"]["original/apibank_l1.json"] = "0" * 64
    (tmp_path / INFO).write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(EvalError, match=r"cannot be scored again: data was .*0000.* and is "):
        adopt_task(tmp_path, read_info(tmp_path), ApiBank(config.apibank))
