"""Runs side by side as Markdown, with intervals, and what changed from the first run to the others.

It reads well in a terminal too. All runs must be of the same task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from coalm.evals.base import Task
from coalm.evals.compare import Comparison, compare, compare_runs
from coalm.evals.runs import ScoredRun
from coalm.evals.tables import (
    NOTE,
    figure_rows,
    part_rows,
    published_rows,
    run_rows,
    sources,
    summary_rows,
    verdict_rows,
)

_MOST_IDS = 20


def summary(task: Task, runs: Sequence[ScoredRun]) -> str:
    """The main figures of every group: a line per run, and per difference to the first run."""
    of = compare_runs(task, runs)
    changes = {
        group: {run.name: compare(task, runs[0], run, group) for run in runs[1:]}
        for group in of.groups
    }
    return "\n".join(_table(summary_rows(of, changes))) + "\n"


def markdown(of: Comparison) -> str:
    """The whole report on some runs: the first one is what the others are compared with."""
    lines = [f"# {of.task.name}", "", *_table(run_rows(of.runs))]
    for group in of.groups:
        lines += ["", f"## {of.task.groups[group]}", "", *_group_section(of, group)]
    lines += ["", "## Reading the figures", ""]
    lines += [f"- {name}: {meaning}." for name, meaning in of.task.figures.items()]
    lines += ["", NOTE, *sources(of.runs[0].info)]
    return "\n".join(lines) + "\n"


def _group_section(of: Comparison, group: str) -> Iterator[str]:
    first, *others = of.runs
    changes = {run.name: compare(of.task, first, run, group) for run in others}
    yield from _table(figure_rows(of, group, changes))
    if published := published_rows(of, group):
        table, rows = published
        yield from ("", f"Beside published figures ({table.source}). {table.note}", "")
        yield from _table(rows)
    yield from ("", *_table(verdict_rows(of.runs, group)))
    if rows := part_rows(of.runs, group):
        yield from ("", *_table(rows))
    for name, change in changes.items():
        if change:
            yield from ("", f"{of.task.main_value}, {name} against {first.name}:", "")
            yield f"- better in {_listed(change.better, change.samples)}"
            yield f"- worse in {_listed(change.worse, change.samples)}"


def _listed(ids: Sequence[str], samples: int) -> str:
    names = f": {', '.join(ids[:_MOST_IDS])}" if ids else ""
    more = f" and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else ""
    return f"{len(ids)} of {samples} samples{names}{more}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns line up as plain text."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_line(row, widths) for row in cells]
    return [lines[0], _line(["-" * width for width in widths], widths), *lines[1:]]


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"
