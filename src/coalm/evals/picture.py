"""A picture of runs side by side: the main figures of every group, with error bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coalm.errors import MissingExtraError
from coalm.evals.base import Task
from coalm.evals.report import ScoredRun, group_intervals


def draw(task: Task, runs: Sequence[ScoredRun], path: Path) -> None:
    """Write a PNG file to `path`.

    Raises:
        MissingExtraError: matplotlib or numpy is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as e:
        raise MissingExtraError("matplotlib", "eval") from e
    found = [group_intervals(task, run) for run in runs]
    groups = [group for group in task.groups if any(group in f for f in found)]
    # matplotlib's stubs leave parts of its signatures open
    figure: Any = Figure(figsize=(1.5 + 3.5 * len(groups), 4.0), layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    width = 0.8 / len(runs)
    drawn: dict[str, Any] = {}
    for group, panel in zip(groups, panels, strict=True):
        for at, (run, by_group) in enumerate(zip(runs, found, strict=True)):
            if group not in by_group:
                continue
            bars = [by_group[group][name] for name in task.main_figures]
            places = [x + (at - (len(runs) - 1) / 2) * width for x in range(len(bars))]
            reach = ([b.value - b.low for b in bars], [b.high - b.value for b in bars])
            panel.bar(places, [b.value for b in bars], width, yerr=reach, capsize=3, label=run.name)
        panel.set_title(group)
        panel.set_xticks(range(len(task.main_figures)), task.main_figures, rotation=20)
    panels[0].set_ylabel("percent")
    figure.legend(list(drawn.values()), list(drawn), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=150)
