"""Tables of runs side by side, with intervals, and what changed from the first run to the others.

The output is Markdown that reads well in a terminal too. All runs must be of the same task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from coalm.errors import EvalError
from coalm.evals.base import Score, Task
from coalm.evals.intervals import RESAMPLES, Interval, differences, intervals
from coalm.evals.runner import by_group
from coalm.evals.runs import RunInfo, ScoredRun, read_info, read_rows

_FEWEST = 10
"""From fewer samples no interval says much, so nothing is called sure."""
_MOST_IDS = 20
_MOST_PARTS = 15


class Change(NamedTuple):
    """How one run differs from another, over the samples that both have."""

    samples: int
    figures: dict[str, Interval]
    """Difference of each figure: the later run less the earlier one."""
    better: list[str]
    """Samples with a higher main value in the later run."""
    worse: list[str]


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
    old, new = (_scores(run, group) for run in (before, after))
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


def _scores(run: ScoredRun, group: str) -> dict[str, Score]:
    return {row.id: row.score for row in run.rows if row.score and group in row.groups}


def summary(task: Task, runs: Sequence[ScoredRun]) -> str:
    """The main figures of every group: a line per run, and per difference to the first run."""
    found = [group_intervals(task, run) for run in runs]
    rows = [["group", "run", "samples", *task.main_figures]]
    for group in task.groups:
        for run, by_name in zip(runs, found, strict=True):
            if group in by_name:
                cells = [_cell(by_name[group].get(name)) for name in task.main_figures]
                rows.append([group, run.name, str(len(_scores(run, group))), *cells])
        for run in runs[1:]:
            if change := compare(task, runs[0], run, group):
                cells = [_difference(change, name) for name in task.main_figures]
                name = f"{run.name} - {runs[0].name}"
                rows.append([group, name, str(change.samples), *cells])
    return "\n".join(_table(rows)) + "\n"


def markdown(task: Task, runs: Sequence[ScoredRun]) -> str:
    """The whole report on `runs`: the first one is what the others are compared with."""
    found = {run.name: group_intervals(task, run) for run in runs}
    lines = [f"# {task.name}", "", *_run_table(runs)]
    for group, title in task.groups.items():
        if any(group in found[run.name] for run in runs):
            lines += ["", f"## {title}", "", *_group_section(task, runs, group, found)]
    lines += ["", "## Reading the figures", ""]
    lines += [f"- {name}: {meaning}." for name, meaning in task.figures.items()]
    lines += [
        "",
        f"In brackets: 95 % intervals, bootstrap over samples with {RESAMPLES} draws; differences "
        f"are paired, and bold where the interval excludes zero (from {_FEWEST} samples on).",
        *_sources(runs[0].info),
    ]
    return "\n".join(lines) + "\n"


def _run_table(runs: Sequence[ScoredRun]) -> list[str]:
    rows = [["run", "model", "adapter", "samples", "failed", "tokens", "started"]]
    for run in runs:
        model = run.info.config.model
        rows.append(
            [
                run.name,
                model.model_name,
                model.adapter_model or "-",
                f"{len(run.rows)} of {run.info.samples}",
                str(sum(row.error is not None for row in run.rows)),
                str(sum(row.completion_tokens for row in run.rows)),
                run.info.started,
            ]
        )
    return _table(rows)


def _group_section(
    task: Task,
    runs: Sequence[ScoredRun],
    group: str,
    found: dict[str, dict[str, dict[str, Interval]]],
) -> Iterator[str]:
    changes = {run.name: compare(task, runs[0], run, group) for run in runs[1:]}
    rows = [
        ["figure", *(run.name for run in runs), *(f"{r.name} - {runs[0].name}" for r in runs[1:])]
    ]
    for figure in task.figures:
        if not any(figure in found[run.name].get(group, {}) for run in runs):
            continue
        cells = [_cell(found[run.name].get(group, {}).get(figure)) for run in runs]
        cells += [_difference(change, figure) for change in changes.values()]
        rows.append([figure, *cells])
    rows.append(["samples", *(str(len(_scores(run, group))) for run in runs)])
    rows[-1] += [str(change.samples) if change else "0" for change in changes.values()]
    yield from _table(rows)
    yield from ("", *_verdicts(runs, group))
    yield from ("", *_parts(runs, group))
    for name, change in changes.items():
        if change:
            yield from ("", f"{task.main_value}, {name} against {runs[0].name}:", "")
            yield f"- better in {_listed(change.better, change.samples)}"
            yield f"- worse in {_listed(change.worse, change.samples)}"


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


def _verdicts(runs: Sequence[ScoredRun], group: str) -> list[str]:
    counts = [Counter(s.verdict for s in _scores(run, group).values()) for run in runs]
    verdicts = sum(counts, Counter[str]())
    rows = [["verdict", *(run.name for run in runs)]]
    rows += [[verdict, *(str(c[verdict]) for c in counts)] for verdict, _ in verdicts.most_common()]
    return _table(rows)


def _parts(runs: Sequence[ScoredRun], group: str) -> list[str]:
    """The parts of right answers that were missed most often: given, of all samples with them."""
    given = [Counter[str]() for _ in runs]
    wanted = [Counter[str]() for _ in runs]
    for at, run in enumerate(runs):
        for found in _scores(run, group).values():
            wanted[at].update(found.parts.keys())
            given[at].update(part for part, right in found.parts.items() if right)
    missed = sum(wanted, Counter[str]()) - sum(given, Counter[str]())
    rows = [["most often missed", *(run.name for run in runs)]]
    for part, _ in missed.most_common(_MOST_PARTS):
        rows.append(
            [part, *(f"{g[part]} of {w[part]}" for g, w in zip(given, wanted, strict=True))]
        )
    return _table(rows) if missed else []


def _listed(ids: Sequence[str], samples: int) -> str:
    names = f": {', '.join(ids[:_MOST_IDS])}" if ids else ""
    more = f" and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else ""
    return f"{len(ids)} of {samples} samples{names}{more}"


def _sources(info: RunInfo) -> Iterator[str]:
    task = info.task
    yield (
        f"Task {task['name']} version {task['version']}, prompts {task['format']} version "
        f"{task['format_version']}, coalm {info.environment['coalm']}."
    )
    if isinstance(data := task["data"], dict):
        yield "Data (sha256): " + ", ".join(f"{path} {str(s)[:12]}" for path, s in data.items())


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns line up as plain text."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_line(row, widths) for row in cells]
    return [lines[0], _line(["-" * width for width in widths], widths), *lines[1:]]


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"
