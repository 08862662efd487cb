from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "parity.py"
LABEL = '```\n[{"name": "GetToday", "arguments": {}}]\n```'
RIGHT: dict[str, Any] = {
    "id": "exact-1",
    "predict": LABEL,
    "label": LABEL,
    **dict.fromkeys(("rouge-1", "rouge-2", "rouge-l", "bleu-4"), 100.0),
    "hammer": {
        "gold_api_num": 1,
        "predict_api_num": 1,
        "correct_api_num": 1,
        "gold_param_num": 0,
        "predict_param_num": 0,
        "correct_param_num": 1,
    },
}
STOPPED: dict[str, Any] = {
    **RIGHT,
    "id": "stopped-1",
    "predict": "[1]",
    "rouge-1": 28.5714,
    "rouge-2": 0.0,
    "rouge-l": 14.8148,
    "bleu-4": 0.0,
    "hammer": {"error": "TypeError"},
}
SET: dict[str, Any] = {
    "name": "all",
    "ids": ["exact-1"],
    "llamafactory": dict.fromkeys(("rouge-1", "rouge-2", "rouge-l", "bleu-4"), 100.0),
    "hammer": {
        "counts": RIGHT["hammer"],
        "result": {"P_api": 1.0, "R_api": 1.0, "F1_api": 1.0},
    },
}


class Done(NamedTuple):
    """How the script ended."""

    status: int
    out: str
    err: str


Parity = Callable[..., Done]


@pytest.fixture
def parity(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Parity:
    """The script's main function, called with arguments of `parity.py apibank`."""
    spec = importlib.util.spec_from_file_location("parity", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec.loader.exec_module(module)

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), "apibank", *map(str, arguments)])
        return Done(module.main(), *capsys.readouterr())

    return run


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = json.dumps(rows) if path.suffix == ".json" else "\n".join(map(json.dumps, rows))
    path.write_text(text, encoding="utf-8")
    return path


def test_cases_and_sets_that_agree(parity: Parity, tmp_path: Path) -> None:
    cases = written(tmp_path / "cases.jsonl", [RIGHT, STOPPED])
    done = parity(cases, written(tmp_path / "sets.json", [SET]))
    assert (done.status, done.err) == (0, ""), done.out
    lines = done.out.splitlines()
    assert "rouge-l: 2/2" in lines
    assert "hammer counters: 1/1" in lines
    assert "hammer error: 1/1" in lines
    assert "set hammer figures: 1/1" in lines
    assert lines[-1] == "all: 16/16"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"rouge-l": 99.9}, "  exact-1: expected 99.9, found 100.0"),
        (
            {"hammer": {**RIGHT["hammer"], "correct_param_num": 0}},
            "  exact-1: expected Counters(gold_api=1, predict_api=1, correct_api=1, gold_param=0, "
            "predict_param=0, correct_param=0), found Counters(gold_api=1, predict_api=1, "
            "correct_api=1, gold_param=0, predict_param=0, correct_param=1)",
        ),
        (
            {"predict": "[1]", "hammer": {"error": "KeyError"}},
            "  exact-1: expected Crash(error='KeyError'), found Crash(error='TypeError')",
        ),
    ],
)
def test_a_difference_is_shown_and_fails(
    parity: Parity, change: dict[str, Any], line: str, tmp_path: Path
) -> None:
    done = parity(written(tmp_path / "cases.jsonl", [{**RIGHT, **change}]))
    assert done.status == 1
    assert line in done.out.splitlines()


def test_only_the_first_differences_are_shown(parity: Parity, tmp_path: Path) -> None:
    rows = [{**RIGHT, "id": f"row-{at}", "rouge-l": 1.0} for at in range(40)]
    done = parity(written(tmp_path / "cases.jsonl", rows))
    assert done.out.count("found 100.0") == 10
    assert "rouge-l: 0/40" in done.out
    assert "all: 160/200" in done.out


def test_a_set_with_another_mean_fails(parity: Parity, tmp_path: Path) -> None:
    cases = written(tmp_path / "cases.jsonl", [RIGHT])
    other = {**SET, "llamafactory": {"bleu-4": 100.0 - 1e-6}}
    done = parity(cases, written(tmp_path / "sets.json", [other]))
    assert done.status == 1
    assert "set mean bleu-4: 0/1" in done.out


def test_no_case_is_no_agreement(parity: Parity, tmp_path: Path) -> None:
    assert parity(written(tmp_path / "cases.jsonl", [])).status == 1


def test_a_missing_file_is_named(parity: Parity, tmp_path: Path) -> None:
    done = parity(tmp_path / "no.jsonl")
    assert (done.status, done.err) == (1, f"parity: {tmp_path}/no.jsonl: no such file\n")


@pytest.mark.real
def test_every_recorded_case_and_set_agrees(parity: Parity) -> None:
    folder = Path(os.environ["COALM_DATA"]) / "apibank"
    done = parity(folder / "metric_cases.jsonl.gz", folder / "metric_sets.json.gz")
    assert done.status == 0, done.out
    assert "bleu-4: 568/568" in done.out
    assert "hammer counters: 547/547" in done.out
    assert "hammer error: 21/21" in done.out
    assert done.out.endswith("all: 3207/3207\n")


def test_the_script_runs_by_itself(tmp_path: Path) -> None:
    cases = written(tmp_path / "cases.jsonl", [RIGHT])
    command = [sys.executable, "-W", "error", str(SCRIPT), "apibank", str(cases)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout.splitlines()[-1], done.stderr) == ("all: 5/5", "")
