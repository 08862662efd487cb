"""How long does scoring one model's full BFCL V3 take, ours and the official tool's?

Usage:
    python benchmarks/score.py                                # ours alone
    python benchmarks/score.py --official BFCL_VENV/bin/bfcl  # beside the official tool
    python benchmarks/score.py --results FOLDER --official ...  # result files of a real model

Without `--results`, replies are made of the official answers: calls as text, one call per step in
the multi-turn categories, every fifth reply spoiled. Both commands are run as a user runs them,
start-up included, in turns; the best of `--repeats` counts. The two have to agree in the accuracy
of every category. Exit status 1 when they do not, or when a target is missed (4 seconds, 300 MB,
half the official tool's time).

The official tool, in an environment of its own (600 MB)::

    python3.11 -m venv BFCL_VENV
    BFCL_VENV/bin/pip install bfcl-eval==2025.6.8
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coalm.errors import CoalmError
from coalm.evals.bfcl.categories import CATEGORIES
from coalm.evals.bfcl.data import Entry, load_category
from coalm.evals.bfcl.exchange import MODELS, import_run

MODEL = MODELS["prompt"]
MAX_SECONDS, MAX_MEGABYTES, MAX_SHARE = 4.0, 300.0, 0.5


class Cost(NamedTuple):
    """What one command took."""

    seconds: float
    megabytes: float
    """Largest resident memory of its process."""


def write_results(folder: Path) -> None:
    """Result files of a model that is right four times out of five."""
    folder.mkdir(parents=True)
    for name, category in CATEGORIES.items():
        if category.retired:
            continue
        with (folder / f"BFCL_v3_{name}_result.json").open("w", encoding="utf-8") as file:
            for number, entry in enumerate(load_category(name)):
                result = make_result(entry, spoiled=number % 5 == 4)
                file.write(json.dumps({"id": entry.id, "result": result}) + "\n")


def make_result(entry: Entry, *, spoiled: bool) -> str | list[list[str]]:
    """The official answer as a model would write it, or something near it."""
    if entry.category.scoring == "multi_turn":
        turns = [*entry.answer[:-1], []] if spoiled else entry.answer
        return [[*(f"[{call}]" for call in calls), "Done."] for calls in turns]
    if entry.category.scoring != "ast":
        calls_wanted = entry.category.scoring == "relevance"
        return "[some_function(a=1)]" if calls_wanted != spoiled else "No function fits."
    text = f"[{', '.join(_calls(entry))}]"
    return text.replace("=", "=1+", 1) if spoiled else text


def _calls(entry: Entry) -> Iterator[str]:
    for answer in entry.answer:
        for name, parameters in answer.items():
            given = (
                f"{key}={_value(accepted[0], entry)}"
                for key, accepted in parameters.items()
                if accepted and "" not in accepted
            )
            yield f"{name}({', '.join(given)})"


def _value(value: Any, entry: Entry) -> str:
    if isinstance(value, dict):
        value = {key: accepted[0] for key, accepted in value.items() if accepted[0] != ""}
    return repr(value) if entry.category.language == "Python" else repr(str(value))


def measure(command: Sequence[str | Path], environment: Mapping[str, str], cwd: Path) -> Cost:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed.
    """
    log = cwd / "log.txt"
    with log.open("wb") as file:
        started = time.perf_counter()
        process = subprocess.Popen(
            [*map(str, command)], stdout=file, stderr=file, env={**environment}, cwd=cwd
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{log.read_text(errors='replace')[-2000:]}")
    return Cost(seconds, usage.ru_maxrss / (1 << 10 if sys.platform == "linux" else 1 << 20))


def our_accuracies(run: Path) -> dict[str, float]:
    """Category to the percentage that our command found."""
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return {
        name: metrics["groups"][name]["figures"]["accuracy"]
        for name in CATEGORIES
        if name in metrics["groups"]
    }


def official_accuracies(folder: Path) -> dict[str, float]:
    """Category to the percentage in the official tool's score files."""
    found: dict[str, float] = {}
    for path in folder.glob("score/*/BFCL_v3_*_score.json"):
        head = json.loads(path.read_text(encoding="utf-8").split("\n", 1)[0])
        name = path.name.removeprefix("BFCL_v3_").removesuffix("_score.json")
        found[name] = 100 * head["accuracy"]
    return found


def compare(results: Path | None, official: Path | None, repeats: int, work: Path) -> bool:
    """Run both commands, print what they took; whether all targets are met."""
    target = work / "result" / MODEL.replace("/", "_")
    if results is None:
        write_results(target)
    else:
        target.parent.mkdir(parents=True)
        target.symlink_to(results.resolve(), target_is_directory=True)
    run = work / "run"
    import_run([target], run, MODEL)
    environment = {**os.environ, "BFCL_PROJECT_ROOT": str(work)}
    commands: dict[str, list[str | Path]] = {
        "coalm": [sys.executable, "-m", "coalm", "eval", "score", run]
    }
    if official:
        evaluate = [official.resolve(), "evaluate", "--model", MODEL, "--test-category", "all"]
        commands["official"] = evaluate
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            costs[name].append(measure(command, environment, work))
    best = {name: Cost(*map(min, zip(*found, strict=True))) for name, found in costs.items()}
    for name, cost in best.items():
        print(f"{name}: {cost.seconds:.2f} s, {cost.megabytes:.0f} MB (best of {repeats})")
    ours = best["coalm"]
    met = ours.seconds < MAX_SECONDS and ours.megabytes < MAX_MEGABYTES
    if official:
        share = ours.seconds / best["official"].seconds
        print(f"share of the official tool's time: {share:.2f}")
        met = met and share <= MAX_SHARE and _agree(our_accuracies(run), official_accuracies(work))
    return met


def _agree(ours: Mapping[str, float], official: Mapping[str, float]) -> bool:
    same = [name for name in ours if abs(ours[name] - official.get(name, -1)) < 1e-9]
    print(f"accuracy of categories: {len(same)}/{len(ours)} agree")
    for name in ours.keys() - {*same}:
        print(f"  {name}: {ours[name]:.2f}, official {official.get(name, float('nan')):.2f}")
    return len(same) == len(ours)


def main() -> int:
    """Parse the command line, measure, judge."""
    parser = argparse.ArgumentParser(description="Time the scoring of a whole BFCL V3.")
    parser.add_argument("--official", type=Path, help="the official `bfcl` command")
    parser.add_argument("--results", type=Path, help="a model's folder of BFCL result files")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as work:
            met = compare(arguments.results, arguments.official, arguments.repeats, Path(work))
    except (CoalmError, RuntimeError) as e:
        print(f"score: {e}", file=sys.stderr)
        return 1
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
