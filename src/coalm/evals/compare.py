"""Runs side by side: read them, and say what changed from one to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from coalm.errors import EvalError
from coalm.evals.base import Score, Task
from coalm.evals.intervals import Interval, differences, intervals
from coalm.evals.runner import by_group
from coalm.evals.runs import ScoredRun, read_info, read_rows


class Change(NamedTuple):
    """How one run differs from another, over the samples that both have."""

    samples: int
    figures: dict[str, Interval]
    """Difference of each figure: the later run less the earlier one."""
    better: list[str]
    """Samples with a higher main value in the later run."""
    worse: list[str]


class Comparison(NamedTuple):
    """Runs of one task with all their figures; the first is what the others are compared with."""

    task: Task
    runs: Sequence[ScoredRun]
    found: Mapping[str, Mapping[str, Mapping[str, Interval]]]
    """Run to group to figure."""

    @property
    def groups(self) -> list[str]:
        """The groups that some run has, in the task's order."""
        return [g for g in self.task.groups if any(g in self.found[r.name] for r in self.runs)]

    def figure(self, run: ScoredRun, group: str, name: str) -> Interval | None:
        """A figure of a run; None where the group or the figure is not there."""
        return self.found[run.name].get(group, {}).get(name)


def compare_runs(task: Task, runs: Sequence[ScoredRun]) -> Comparison:
    """Work out all figures of all runs.

    Raises:
        MissingExtraError: numpy is not installed.
    """
    return Comparison(task, runs, {run.name: group_intervals(task, run) for run in runs})


def load_runs(folders: Sequence[Path]) -> list[ScoredRun]:
    """Read scored runs; each is named after its folder.

    Raises:
        EvalError: a folder holds no run or no scores, or the runs are not of one task.
        DataError: a row is damaged.
    """
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    runs: list[ScoredRun] = []
    for name, folder in zip(names, folders, strict=True):
        run = ScoredRun(name, read_info(folder), read_rows(folder))
        if not any(row.score for row in run.rows):
            raise EvalError(f"{folder}: no scores yet; run `coalm eval score {folder}` first")
        _refuse_mixture([*runs, run])
        runs.append(run)
    return runs


def _refuse_mixture(runs: Sequence[ScoredRun]) -> None:
    first, last = runs[0], runs[-1]
    for key in ("name", "version"):
        one, other = first.info.task[key], last.info.task[key]
        if one != other:
            raise EvalError(
                f"{first.name} and {last.name} do not belong in one table: task {key} is {one} "
                f"and {other}"
            )


def group_intervals(task: Task, run: ScoredRun) -> dict[str, dict[str, Interval]]:
    """Group to figure to value, with intervals."""
    return {group: intervals(task, found) for group, found in by_group(task, run.rows).items()}


def compare(task: Task, before: ScoredRun, after: ScoredRun, group: str) -> Change | None:
    """What changed in `group` from one run to the other; None when they share no sample."""
    old, new = (group_scores(run, group) for run in (before, after))
    ids = [sample for sample in old if sample in new]
    if not ids:
        return None
    value = task.main_value
    gain = {i: new[i].values[value] - old[i].values[value] for i in ids}
    return Change(
        samples=len(ids),
        figures=differences(task, [old[i] for i in ids], [new[i] for i in ids]),
        better=[i for i in ids if gain[i] > 0],
        worse=[i for i in ids if gain[i] < 0],
    )


def group_scores(run: ScoredRun, group: str) -> dict[str, Score]:
    """Sample to score, of the samples of a group that have one."""
    return {row.id: row.score for row in run.rows if row.score and group in row.groups}
