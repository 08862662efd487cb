"""The tables of `results/`: train, measure on every benchmark, put side by side.

Usage:
    python benchmarks/results.py model        # the base model and coalm-135m, free and guided
    python benchmarks/results.py ablations    # one budget of samples: all parts, all but one
    python benchmarks/results.py model --task world --run guided

Ablations are trained with configs/data/coalm_135m.yaml and configs/train/coalm_135m.yaml. Every
step is a `coalm` command, printed before it runs, and goes on where it was stopped. Data sets,
adapters and runs stay in `runs/results/`. `results/` gets each run without the texts of benchmark
and model (settings, versions, checksums, figures, and the scores of every sample), and the report
of each task on all runs that are there, so that a table can grow over several days.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from coalm.evals.base import SampleResult
from coalm.evals.runs import INFO, METRICS, read_rows, write_rows

os.chdir(Path(__file__).parents[1])  # so that what is written down names no folder above
RUNS, RESULTS = Path("runs/results"), Path("results")
TASKS: Mapping[str, Sequence[str]] = {
    "world": ("generation.batch_size=24", "generation.cache_tokens=49152"),
    "apibank": ("--limit=100", "generation.batch_size=16"),
    "bfcl": ("--limit=100", "bfcl.categories=[non_live, live]", "generation.batch_size=16"),
    "multiwoz": ("--limit=20", "multiwoz.states=prompt", "multiwoz.history=spoken"),
    "multiwoz-states": ("--limit=20", "multiwoz.mode=states", "generation.batch_size=16"),
}
"""What each table is asked with, beside its benchmark's file in configs/eval; the benchmark is what
stands before a hyphen."""
OWN_FORM = {"apibank": "apibank.form=original", "bfcl": "bfcl.style=calls"}
"""coalm's form of the calls, in place of the benchmark's own, which cannot be guided."""
ANSWER = "generation.max_new_tokens=256"
BASE, TUNED = "--model=smollm2-135m-instruct", "--model=coalm-135m"
PARTS = {
    "TOD": ("snips", "sgd_states"),
    "LA": ("sealtools", "sgd_calls", "sgd_requests"),
    "CRA": ("sgd", "world"),
}
"""The sources of each skill."""
MIXES = {"all": (), **{f"without-{part}": sources for part, sources in PARTS.items()}}
"""The sources that each ablation leaves out."""
BUDGET = ("training.max_steps=40", "training.save_steps=20")
"""Of an ablation: so many steps of 16 samples."""


def run(*words: str | Path) -> None:
    """Run a `coalm` command; a failure ends everything."""
    print(f"$ coalm {shlex.join(map(str, words))}", flush=True)
    if code := subprocess.run([sys.executable, "-m", "coalm", *map(str, words)]).returncode:
        raise SystemExit(code)


def measure(table: str, task: str, runs: Mapping[str, Sequence[str]], asked: Sequence[str]) -> None:
    """Measure the runs that are asked for, and report all that are there, to `results/`."""
    place = RESULTS / table / task
    for name, words in runs.items():
        if asked and name not in asked:
            continue
        folder = RUNS / table / task / name
        config = f"configs/eval/{task.partition('-')[0]}.yaml"
        run("eval", "run", "-c", config, *TASKS[task], ANSWER, *words, "--out", folder)
        keep(folder, place / name)
    there = [place / name for name in runs if (place / name / METRICS).exists()]
    run("eval", "report", *there, "--out", place)


def keep(folder: Path, place: Path) -> None:
    """The run without the texts of benchmark and model; it can still be reported and compared."""
    place.mkdir(parents=True, exist_ok=True)
    for file in (INFO, METRICS):
        shutil.copy(folder / file, place / file)
    write_rows(place, [without_texts(row) for row in read_rows(folder)])


def without_texts(row: SampleResult) -> SampleResult:
    """Which sample, what it was worth, what it cost."""
    score = row.score and row.score.model_copy(update={"explanation": None, "metadata": {}})
    bare = {"raw": (), "finish_reasons": (), "conversation": None, "score": score}
    return row.model_copy(update=bare)


def trained(name: str) -> Path:
    """Where an ablation is trained."""
    return RUNS / "trained" / name


def train(name: str) -> None:
    """Train the adapter of an ablation, unless that is done, on all sources but some."""
    data, folder = RUNS / "data" / name, trained(name)
    sources = [one for part in PARTS.values() for one in part if one not in MIXES[name]]
    if not (data / "manifest.json").exists():
        chosen = f"sources=[{', '.join(sources)}]"
        run("data", "build", "-c", "configs/data/coalm_135m.yaml", chosen, f"output_dir={data}")
    if not (folder / "adapter").exists():
        paths = [
            f"data.{split}.datasets.0.dataset_path={data / split}.jsonl"
            for split in ("train", "validation")
        ]
        place = f"training.output_dir={folder}"
        run("train", "-c", "configs/train/coalm_135m.yaml", *BUDGET, *paths, place)


def model(task: str) -> dict[str, Sequence[str]]:
    """The base model and coalm-135m; guided calls beside free ones of the same form."""
    runs = {"base": (BASE,), "coalm-135m": (TUNED,)}
    form = (OWN_FORM[task],) if task in OWN_FORM else ()
    free = {"own-form": (TUNED, *form)} if form else {}
    return {**runs, **free, "guided": (TUNED, *form, "generation.guided=true")}


def ablations(_: str) -> dict[str, Sequence[str]]:
    """The whole mix and the mix without each part, all with the same number of samples."""
    tuned = {name: (BASE, f"--adapter={trained(name) / 'adapter'}") for name in MIXES}
    return {"base": (BASE,), **tuned}


def main() -> None:
    """Make the table that is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("table", choices=("model", "ablations"))
    parser.add_argument("--task", choices=TASKS, action="append", help="default: all")
    parser.add_argument("--run", action="append", help="default: all")
    asked = parser.parse_args()
    runs_of = model if asked.table == "model" else ablations
    if asked.table == "ablations":
        for name in MIXES:
            if not asked.run or name in asked.run:
                train(name)
    for task in asked.task or TASKS:
        measure(asked.table, task, runs_of(task), asked.run or ())


if __name__ == "__main__":
    main()
