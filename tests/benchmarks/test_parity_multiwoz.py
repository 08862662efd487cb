from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "parity.py"
GOAL = {"train": {"info": {"day": "monday"}, "reqt": ["trainID"], "fail_info": {}}}
STATE = {"train": {"day": "monday"}}
EMPTY: dict[str, Any] = {"book": {"booked": []}, "semi": {}}
LOG = [
    {"text": "A train on Monday", "metadata": {}},
    {
        "text": "TR1 it is",
        "metadata": {"train": {"book": {"booked": []}, "semi": {"day": "monday"}}},
        "span_info": [["Train-Inform", "Id", "TR1", 0, 0]],
    },
]
IDS = ("a1", "a2", "a3")
RIGHT = {
    "inform": {"train": True, "total": True},
    "success": {"train": True, "total": True},
}
WRONG = {"inform": {"train": False, "total": False}, "success": {}}
PREDICTIONS = {name: [{"response": "[train_id]", "state": STATE}] for name in IDS}
VERDICTS: dict[str, Any] = {
    "summary": {
        "model": "Toy",
        "state_source": "state in the file",
        "domain_source": "estimated from state changes",
        "published": {"inform": 99.9, "success": 88.8},
        "computed": {"inform": {"total": 100.0, "train": 100.0}, "avg_len": 1.0},
    },
    "dialogues": dict.fromkeys(IDS, RIGHT),
    "jga_per_turn": {"2.4": {name: [[1, 1]] for name in IDS}, "2.1": {"a1": [[1, 1]]}},
}
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def parity(tmp_path: Path) -> Run:
    """Runs the script on a made-up release and the given files."""
    release = tmp_path / "MULTIWOZ2.4"
    release.mkdir()
    data = {f"{name.upper()}.json": {"goal": GOAL, "log": LOG} for name in IDS}
    (release / "data.json").write_text(json.dumps(data))
    (release / "testListFile.json").write_text("\n".join(data))
    for domain in ("restaurant", "hotel", "attraction"):
        (release / f"{domain}_db.json").write_text(json.dumps([{"id": "1", "name": "x"}]))
    trains = [{"trainID": "TR1", "day": "monday"}, {"trainID": "TR2", "day": "sunday"}]
    (release / "train_db.json").write_text(json.dumps(trains))

    def run(
        predictions: Any = PREDICTIONS, verdicts: Any = VERDICTS, *options: str
    ) -> subprocess.CompletedProcess[str]:
        (tmp_path / "toy.json").write_text(json.dumps(predictions))
        (tmp_path / "toy.verdicts.json").write_text(json.dumps(verdicts))
        files = [str(tmp_path / "toy.json"), str(tmp_path / "toy.verdicts.json")]
        command = [sys.executable, str(SCRIPT), "multiwoz", *files, "--data", str(release)]
        return subprocess.run([*command, *options], capture_output=True, text=True)

    return run


def test_full_agreement(parity: Run) -> None:
    done = parity()
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[:3] == [
        "Toy: 3 dialogues; states from file, active domains from states",
        "                     published  recorded    ours",
        "inform                    99.9     100.0   100.0",
    ]
    assert "inform: 3/3 dialogues agree" in lines
    assert (
        "jga 2.4 fuzzy: 3/3 turns agree; recorded 100.00, ours 100.00; 100.00 of all turns, "
        "missing ones being wrong"
    ) in lines
    assert any(line.startswith("jga 2.1: no dialogues of this version in") for line in lines)
    assert "mean_words: 1.00 (recorded 1.0)" in lines
    assert lines[-1] == "parity: within the limits"


def test_one_other_verdict_is_allowed_and_two_are_not(parity: Run) -> None:
    one = {**VERDICTS, "dialogues": {**VERDICTS["dialogues"], "a1": WRONG}}
    done = parity(PREDICTIONS, one)
    assert done.returncode == 0
    assert "inform: 2/3 dialogues agree" in done.stdout
    assert "  a1: expected {'train': False, 'total': False}, found {'train': True" in done.stdout
    two = {**VERDICTS, "dialogues": {**VERDICTS["dialogues"], "a1": WRONG, "a2": WRONG}}
    done = parity(PREDICTIONS, two)
    assert done.returncode == 1
    assert done.stdout.endswith("parity: 2 measures differ by too much\n")


def test_states_must_agree_in_total(parity: Run) -> None:
    off = {"2.4": {**VERDICTS["jga_per_turn"]["2.4"], "a1": [[1, 0]]}}
    done = parity(PREDICTIONS, {**VERDICTS, "jga_per_turn": off})
    assert done.returncode == 1
    assert "jga 2.4 exact: 2/3 turns agree; recorded 66.67, ours 100.00" in done.stdout
    assert "parity: 1 measures differ" in done.stdout


def test_a_dialogue_that_is_missing_counts_against_us(parity: Run) -> None:
    done = parity({"a1": PREDICTIONS["a1"]})
    assert done.returncode == 1
    assert "missing dialogue: 2\n  a2: missing dialogue: its turns count as wrong" in done.stdout
    assert "inform: 1/3 dialogues agree" in done.stdout


def test_sources_come_from_the_summary_or_the_user(parity: Run) -> None:
    named = {**VERDICTS, "summary": {"domain_source": "slot names in the response"}}
    assert "active domains from placeholders" in parity(PREDICTIONS, named).stdout
    gold = {**VERDICTS, "summary": {"state_source": "gold 2.4 metadata"}}
    assert "states from gold, active" in parity(PREDICTIONS, gold).stdout
    chosen = parity(PREDICTIONS, VERDICTS, "--states", "gold", "--domains", "placeholders")
    assert "states from gold, active domains from placeholders" in chosen.stdout


def test_a_damaged_file_is_one_line(parity: Run) -> None:
    done = parity([], VERDICTS)
    assert done.returncode == 1
    assert done.stderr.startswith("parity: ")
    assert done.stderr.endswith("expected an object of dialogue ids, got list\n")
    done = parity(PREDICTIONS, {"dialogues": 5})
    assert done.stderr.endswith("expected an object with summary and dialogues\n")
