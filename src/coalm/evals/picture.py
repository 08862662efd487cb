"""A picture of runs side by side: the main figures of every group, with error bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coalm.errors import MissingExtraError
from coalm.evals.base import Task
from coalm.evals.intervals import Interval
from coalm.evals.report import ScoredRun, group_intervals


def draw(task: Task, runs: Sequence[ScoredRun], path: Path) -> None:
    """Write a PNG file to `path`.

    Raises:
        MissingExtraError: matplotlib or numpy is not installed.
    """
    make_figure(task, runs).savefig(path, format="png", dpi=150)


def make_figure(task: Task, runs: Sequence[ScoredRun]) -> Any:
    """The picture as a matplotlib figure: a panel per group, a colour per run.

    Raises:
        MissingExtraError: matplotlib or numpy is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as e:
        raise MissingExtraError("matplotlib", "eval") from e
    found = [group_intervals(task, run) for run in runs]
    groups = [group for group in task.groups if any(group in by_group for by_group in found)]
    # matplotlib's stubs leave parts of its signatures open
    figure: Any = Figure(figsize=(1.5 + 3.5 * len(groups), 4.0), layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    drawn: dict[str, Any] = {}
    for group, panel in zip(groups, panels, strict=True):
        for at, (run, by_group) in enumerate(zip(runs, found, strict=True)):
            if group in by_group:
                bars = [by_group[group][name] for name in task.main_figures]
                drawn[run.name] = _bars(panel, bars, at, len(runs))
        panel.set_title(group)
        panel.set_xticks(range(len(task.main_figures)), task.main_figures, rotation=20)
    panels[0].set_ylabel("percent")
    figure.legend(list(drawn.values()), list(drawn), loc="outside lower center", ncols=4)
    return figure


def _bars(panel: Any, bars: Sequence[Interval], run: int, runs: int) -> Any:
    """The bars of one run, left to right beside those of the others."""
    width = 0.8 / runs
    places = [at + (run - (runs - 1) / 2) * width for at in range(len(bars))]
    # a percentile interval need not hold the value itself
    below = [max(0.0, bar.value - bar.low) for bar in bars]
    above = [max(0.0, bar.high - bar.value) for bar in bars]
    heights = [bar.value for bar in bars]
    return panel.bar(places, heights, width, yerr=(below, above), capsize=3, color=f"C{run}")
