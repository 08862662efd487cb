"""A picture of runs side by side: the main figures of every group, with error bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coalm.errors import MissingExtraError
from coalm.evals.compare import Comparison
from coalm.evals.intervals import Interval


def draw(of: Comparison, path: Path) -> None:
    """Write a PNG file to `path`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    make_figure(of).savefig(path, format="png", dpi=150)


def make_figure(of: Comparison) -> Any:
    """The picture as a matplotlib figure: a panel per group, a colour per run.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as e:
        raise MissingExtraError("matplotlib", "eval") from e
    groups, figures = of.groups, of.task.main_figures
    # matplotlib's stubs leave parts of its signatures open
    figure: Any = Figure(figsize=(1.5 + 3.5 * len(groups), 4.0), layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    drawn: dict[str, Any] = {}
    for group, panel in zip(groups, panels, strict=True):
        for at, run in enumerate(of.runs):
            bars = [of.figure(run, group, name) for name in figures]
            if any(bars):
                drawn[run.name] = _bars(panel, bars, at, len(of.runs))
        panel.set_title(group)
        panel.set_xticks(range(len(figures)), figures, rotation=20)
    panels[0].set_ylabel("percent")
    figure.legend(list(drawn.values()), list(drawn), loc="outside lower center", ncols=4)
    return figure


def _bars(panel: Any, found: Sequence[Interval | None], run: int, runs: int) -> Any:
    """The bars of one run, left to right beside those of the others."""
    width = 0.8 / runs
    places = [at + (run - (runs - 1) / 2) * width for at, bar in enumerate(found) if bar]
    bars = [bar for bar in found if bar]
    # a percentile interval need not hold the value itself
    below = [max(0.0, bar.value - bar.low) for bar in bars]
    above = [max(0.0, bar.high - bar.value) for bar in bars]
    heights = [bar.value for bar in bars]
    return panel.bar(places, heights, width, yerr=(below, above), capsize=3, color=f"C{run}")
