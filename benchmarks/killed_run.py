"""Is a run that is killed on its way, and resumed, the run that nobody disturbed?

Usage:
    python benchmarks/killed_run.py OUT -c configs/eval/apibank.yaml
    python benchmarks/killed_run.py OUT -c configs/eval/bfcl.yaml --kills 3 --whole runs/bfcl

`coalm eval run` is started in OUT/killed, killed (SIGKILL) when it has so many rows, and started
again, until it ends by itself. The undisturbed run is made in OUT/whole, or read from `--whole`.
All that follows the options goes to both runs. The rows of both have to be equal but for the
seconds; the first differences are printed, and exit status is 1 then.

A script that is stopped itself goes on where it was, with the kills that are still due.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from coalm.errors import CoalmError
from coalm.evals.base import SampleResult
from coalm.evals.runs import INFO, ROWS, read_info, read_rows

SHOWN = 5


def run_killed(command: Sequence[str], folder: Path, kills: int) -> list[int]:
    """Run to the end with kills on the way; how many rows there were at each."""
    killed_at: list[int] = []
    while True:
        process = subprocess.Popen([*command, "--out", str(folder)])
        try:
            while len(killed_at) < kills and process.poll() is None:
                time.sleep(0.2)
                if _rows(folder) >= _due(folder, len(killed_at), kills):
                    os.kill(process.pid, signal.SIGKILL)
                    process.wait()
                    killed_at.append(_rows(folder))
                    print(f"killed with {killed_at[-1]} rows", flush=True)
            status = process.wait()
        finally:
            process.kill()
        if status == 0:
            return killed_at
        if status != -signal.SIGKILL:
            raise RuntimeError(f"the run ended with exit status {status}")


def _due(folder: Path, kill: int, kills: int) -> int:
    """Rows at which the next kill is due: spread over the run, the first after at least one row."""
    if not (folder / INFO).exists():
        return sys.maxsize
    return max(1, read_info(folder).samples * (kill + 1) // (kills + 1))


def _rows(folder: Path) -> int:
    path = folder / ROWS
    return path.read_bytes().count(b"\n") if path.exists() else 0


def differences(one: Sequence[SampleResult], other: Sequence[SampleResult]) -> list[str]:
    """What differs between the rows of two runs, the seconds left out."""
    before = {row.id: row for row in one}
    after = {row.id: row for row in other}
    found = [f"{name}: only in one run" for name in before.keys() ^ after.keys()]
    for name in before.keys() & after.keys():
        a, b = (row.model_dump(exclude={"seconds"}) for row in (before[name], after[name]))
        found += [
            f"{name}: {key}: {a[key]!r} and {b[key]!r}"[:300] for key in a if a[key] != b[key]
        ]
    return sorted(found)


def main() -> int:
    """Parse the command line, run, compare."""
    parser = argparse.ArgumentParser(description="Kill a run, resume it, compare it.")
    parser.add_argument("out", type=Path, help="folder for both runs")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--whole", type=Path, help="an undisturbed run that is there already")
    arguments, given = parser.parse_known_args()
    command = [sys.executable, "-m", "coalm", "eval", "run", *given]
    try:
        killed_at = run_killed(command, arguments.out / "killed", arguments.kills)
        whole = arguments.whole or arguments.out / "whole"
        if arguments.whole is None:
            subprocess.run([*command, "--out", str(whole)], check=True)
        rows = read_rows(arguments.out / "killed")
        found = differences(rows, read_rows(whole))
    except (CoalmError, RuntimeError, subprocess.CalledProcessError) as e:
        print(f"killed_run: {e}", file=sys.stderr)
        return 1
    print(f"kills: {len(killed_at)}, rows: {len(rows)}, differences: {len(found)}")
    for line in found[:SHOWN]:
        print(f"  {line}")
    for folder in (arguments.out / "killed", whole):
        checksum = hashlib.sha256((folder / ROWS).read_bytes()).hexdigest()
        print(f"{folder / ROWS}: sha256 {checksum}")
    return 1 if found or len(killed_at) < arguments.kills else 0


if __name__ == "__main__":
    sys.exit(main())
