"""The parity script on a part of the recorded cases, and on cases that it has to refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coalm import assets
from coalm.evals.bfcl.data import ASSET

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "parity.py"
pytestmark = pytest.mark.skipif(
    not assets.state(ASSET).present, reason=f"the asset {ASSET} is not on this machine"
)


def parity(*files: Path) -> tuple[int, list[str]]:
    command = [sys.executable, str(SCRIPT), "bfcl", *map(str, files)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return done.returncode, (done.stdout + done.stderr).splitlines()


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    [
        "claude-3-haiku-20240307.jsonl.gz",
        "extra/checker_micro_cases.json",
        "extra/decode_cases.json",
        "extra/aggregation_cases.json",
        "extra/exec_outputs.jsonl.gz",
        "extra/multi_turn_gt_responses.jsonl.gz",
    ],
)
def test_recorded_results(name: str) -> None:
    path = Path(os.environ["COALM_DATA"]) / "bfcl_outputs" / name
    if not path.exists():
        pytest.skip(f"COALM_DATA has no bfcl_outputs/{name}")
    status, lines = parity(path)
    right, _, total = lines[-1].removeprefix("all: ").partition("/")
    assert (status, right) == (0, total), "\n".join(lines)


def test_a_difference_is_shown_and_fails(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(
        '{"id": "simple_0", "category": "simple", "corruption": "none", "decoded": [], '
        '"valid": true, "error_type": null}\n'
    )
    assert parity(path) == (
        1,
        [
            "synthetic: valid: 0/1",
            "  simple_0 none: expected True, found False",
            "synthetic: error_type: 0/1",
            "  simple_0 none: expected None, found 'simple_function_checker:wrong_count'",
            "all: 0/2",
        ],
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n', "rows with a are of no known form"),
        ("", "no rows"),
        (
            '{"id": "simple_9999", "corruption": "", "decoded": []}\n',
            "'simple_9999' is no BFCL entry",
        ),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(text)
    status, lines = parity(path)
    assert status == 1
    assert lines[0].startswith("parity: ")
    assert lines[0].endswith(message)
