"""The scripts that serve 405B, run with stand-ins for ray, vllm and Slurm."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "configs" / "infer" / "jobs"
STAND_INS = {
    "ray": 'echo "ray $*" >> "$LOG"',
    "vllm": 'echo "vllm $*" >> "$LOG"',
    "python": "exit 0",
    "sleep": "exit 0",
    "scontrol": "echo first; echo second",
    "hostname": "echo 10.0.0.1 10.0.0.2",
    "srun": 'if [ "$1" = --nodes ]; then shift 6; exec "$@"; fi\n'
    'for SLURM_PROCID in 0 1; do export SLURM_PROCID; "$@"; done',
}


def run(folder: Path, script: str, *words: str, **settings: str) -> tuple[int, list[str], str]:
    """Exit status, what was called, and what was printed."""
    for name, body in STAND_INS.items():
        stand_in = folder / name
        stand_in.write_text(f"#!/bin/bash\n{body}\n")
        stand_in.chmod(0o755)
    log = folder / "log"
    log.touch()
    done = subprocess.run(
        [JOBS / script, *words],
        cwd=ROOT,
        env={
            "PATH": f"{folder}:{os.environ['PATH']}",
            "LOG": str(log),
            **settings,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, log.read_text().splitlines(), done.stdout + done.stderr


def test_the_first_machine_starts_ray_and_serves(tmp_path: Path) -> None:
    status, called, _ = run(
        tmp_path, "ray_two_nodes.sh", "head", "m", "--seed", "1", RAY_AUTH_TOKEN="t"
    )
    assert status == 0
    assert called[0] == "ray start --head --port 6379 --disable-usage-stats"
    assert called[1].startswith("vllm serve m --served-model-name coalm-405b ")
    assert "--tensor-parallel-size 8 --pipeline-parallel-size 2" in called[1]
    assert called[1].endswith("--dtype bfloat16 --seed 1")


def test_the_second_machine_joins(tmp_path: Path) -> None:
    status, called, _ = run(tmp_path, "ray_two_nodes.sh", "worker", "first", RAY_AUTH_TOKEN="t")
    assert status == 0
    assert called == ["ray start --address first:6379 --block --disable-usage-stats"]


def test_slurm_gives_every_machine_its_role(tmp_path: Path) -> None:
    status, called, printed = run(
        tmp_path, "slurm_two_nodes.sh", "m", "--seed", "1", SLURM_JOB_NODELIST="n"
    )
    assert status == 0, printed
    assert "serving on first (10.0.0.1), port 8000" in printed
    assert [line.split(" --")[0] for line in called] == [
        *("ray start", "vllm serve m", "ray start")
    ]
    assert called[1].endswith("--seed 1")
    assert called[2].startswith("ray start --address 10.0.0.1:6379 ")


@pytest.mark.parametrize(
    ("script", "words", "settings", "problem"),
    [
        ("vllm_405b.sh", [], {}, "two_nodes, fp8 or awq"),
        ("vllm_405b.sh", ["fp8"], {}, "folder or hub name of the model"),
        ("vllm_405b.sh", ["fp16", "m"], {}, "no variant 'fp16'; there are two_nodes, fp8, awq"),
        ("ray_two_nodes.sh", ["head", "m"], {}, "set it to the same secret on both machines"),
        ("ray_two_nodes.sh", ["tail"], {"RAY_AUTH_TOKEN": "t"}, "no role 'tail'"),
        ("ray_two_nodes.sh", ["worker"], {"RAY_AUTH_TOKEN": "t"}, "address of the first machine"),
    ],
)
def test_what_is_missing_is_said(
    tmp_path: Path, script: str, words: list[str], settings: dict[str, str], problem: str
) -> None:
    status, called, printed = run(tmp_path, script, *words, **settings)
    assert status != 0
    assert problem in printed
    assert called == []
