from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from coalm.world.files import Volume, write_world

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "mutations.py"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def found(output: str) -> dict[str, tuple[int, ...]]:
    """Damage to samples, found, found by the right criterion."""
    row = re.compile(r"^(all|[a-z ]+ \([a-z]+\)) +([\d,]+) +([\d,]+) +([\d,]+)$", re.MULTILINE)
    rows = row.findall(output)
    return {name: tuple(int(n.replace(",", "")) for n in numbers) for name, *numbers in rows}


@pytest.mark.parametrize("split", ["train", "test"])
def test_damage_to_samples_of_the_mini_world_is_found(tmp_path: Path, split: str) -> None:
    write_world(tmp_path, seed=3, volume=Volume(train=40, dev=5, test=40, utterances=20))
    done = run(
        *("--root", str(tmp_path), "--samples", "100", "--split", split),
        *("--sources", "snips", "sgd", "sgd_calls"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = found(done.stdout)
    assert counts["all"][0] == 100
    assert counts["all"][2] >= 99
    assert len(counts) == 1 + 10


@pytest.mark.real
def test_damage_to_a_thousand_real_samples_is_found() -> None:
    if not (Path(os.environ["COALM_DATA"]) / "sgd").is_dir():
        pytest.skip("COALM_DATA does not name a folder with sgd/ in it")
    done = run("--split", "dev")
    assert done.returncode == 0, done.stdout + done.stderr
    counts = found(done.stdout)
    assert counts["all"][0] == 1_000
    assert counts["all"][2] >= 990


def test_a_validation_that_finds_nothing_fails(tmp_path: Path) -> None:
    write_world(tmp_path, seed=3, volume=Volume(train=8, dev=1, test=1))
    blind = (
        "import sys, coalm.data.validate as v; v.Validator.check = lambda self, sample: []; "
        f"sys.path.insert(0, {str(SCRIPT.parent)!r}); import mutations; sys.exit(mutations.main())"
    )
    words = ["--root", str(tmp_path), "--samples", "20", "--sources", "sgd"]
    done = subprocess.run([sys.executable, "-c", blind, *words], capture_output=True, text=True)
    assert done.returncode == 1
    assert "0.00% found by the right criterion" in done.stdout
    assert "not found: " in done.stdout
