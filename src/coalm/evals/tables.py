"""The tables of a report as rows of text; a Markdown file and a web page both show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from coalm.evals.compare import Change, Comparison, group_scores
from coalm.evals.intervals import RESAMPLES, Interval
from coalm.evals.published import PUBLISHED, Published
from coalm.evals.runs import RunInfo, ScoredRun

Rows: TypeAlias = list[list[str]]
"""A table, its headings first."""

_FEWEST = 10
"""From fewer samples no interval says much, so nothing is called sure."""
_MOST_PARTS = 15
NOTE = (
    f"In brackets: 95 % intervals, bootstrap over samples with {RESAMPLES} draws; differences are "
    f"paired, and bold or between asterisks where the interval excludes zero (from {_FEWEST} "
    "samples on)."
)


def run_rows(runs: Sequence[ScoredRun]) -> Rows:
    """What each run is."""
    rows = [["run", "model", "adapter", "samples", "failed", "too long", "tokens", "started"]]
    for run in runs:
        model = run.info.config.model
        rows.append(
            [
                run.name,
                model.model_name,
                model.adapter_model or "-",
                f"{len(run.rows)} of {run.info.samples}",
                str(sum(row.error is not None for row in run.rows)),
                str(sum(row.too_long for row in run.rows)),
                str(sum(row.completion_tokens for row in run.rows)),
                run.info.started,
            ]
        )
    return rows


def figure_rows(of: Comparison, group: str, changes: Mapping[str, Change | None]) -> Rows:
    """Every figure of a group: a column per run, and per difference to the first run."""
    first = of.runs[0].name
    rows = [["figure", *(run.name for run in of.runs), *(f"{name} - {first}" for name in changes)]]
    for figure in of.task.figures:
        found = [of.figure(run, group, figure) for run in of.runs]
        if any(found):
            cells = [_difference(change, figure) for change in changes.values()]
            rows.append([figure, *map(_cell, found), *cells])
    rows.append(["samples", *(str(len(group_scores(run, group))) for run in of.runs)])
    rows[-1] += [str(change.samples) if change else "0" for change in changes.values()]
    return rows


def published_rows(of: Comparison, group: str) -> tuple[Published, Rows] | None:
    """Published figures beside those of the runs; None where there are none."""
    table = PUBLISHED.get(of.task.name, {}).get(group)
    if table is None:
        return None
    names = [name for name in of.task.figures if any(name in row for row in table.rows.values())]
    rows = [["model", *names]]
    for run in of.runs:
        found = [of.figure(run, group, name) for name in names]
        cells = [f"{figure.value:.1f}" if figure else "-" for figure in found]
        rows.append([f"{run.name} (here)", *cells])
    for model, values in table.rows.items():
        rows.append([model, *(f"{values[n]:.1f}" if n in values else "-" for n in names)])
    return table, rows


def verdict_rows(runs: Sequence[ScoredRun], group: str) -> Rows:
    """How often each verdict was given."""
    counts = [Counter(s.verdict for s in group_scores(run, group).values()) for run in runs]
    verdicts = sum(counts, Counter[str]())
    rows = [["verdict", *(run.name for run in runs)]]
    rows += [[verdict, *(str(c[verdict]) for c in counts)] for verdict, _ in verdicts.most_common()]
    return rows


def part_rows(runs: Sequence[ScoredRun], group: str) -> Rows:
    """The parts of right answers that were missed most often: given, of all samples with them."""
    given = [Counter[str]() for _ in runs]
    wanted = [Counter[str]() for _ in runs]
    for at, run in enumerate(runs):
        for found in group_scores(run, group).values():
            wanted[at].update(found.parts.keys())
            given[at].update(part for part, right in found.parts.items() if right)
    missed = sum(wanted, Counter[str]()) - sum(given, Counter[str]())
    rows = [["most often missed", *(run.name for run in runs)]]
    for part, _ in missed.most_common(_MOST_PARTS):
        rows.append(
            [part, *(f"{g[part]} of {w[part]}" for g, w in zip(given, wanted, strict=True))]
        )
    return rows if missed else []


def summary_rows(of: Comparison, changes: Mapping[str, Mapping[str, Change | None]]) -> Rows:
    """The main figures of every group: a line per run, and per difference to the first run."""
    names = of.task.main_figures
    rows = [["group", "run", "samples", *names]]
    for group in of.groups:
        for run in of.runs:
            if group in of.found[run.name]:
                cells = [_cell(of.figure(run, group, name)) for name in names]
                rows.append([group, run.name, str(len(group_scores(run, group))), *cells])
        for name, change in changes[group].items():
            if change:
                cells = [_difference(change, figure) for figure in names]
                rows.append([group, f"{name} - {of.runs[0].name}", str(change.samples), *cells])
    return rows


def sources(info: RunInfo) -> list[str]:
    """What the figures rest on: versions and checksums, one sentence each."""
    task = info.task
    lines = [
        f"Task {task['name']} version {task['version']}, prompts {task['format']} version "
        f"{task['format_version']}, coalm {info.environment['coalm']}."
    ]
    if isinstance(data := task["data"], dict):
        checksums = ", ".join(f"{path} {str(s)[:12]}" for path, s in data.items())
        lines.append(f"Data (sha256): {checksums}")
    if info.imported:
        lines.append(f"Replies were read from {len(info.imported)} result files.")
    return lines


def _cell(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{interval.value:.1f} ({interval.low:.1f} to {interval.high:.1f})"


def _difference(change: Change | None, figure: str) -> str:
    if change is None or figure not in change.figures:
        return "-"
    found = change.figures[figure]
    text = f"{found.value:+.1f} ({found.low:+.1f} to {found.high:+.1f})"
    sure = found.excludes_zero and change.samples >= _FEWEST
    return f"**{text}**" if sure else text
