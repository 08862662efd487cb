"""From right answers per category to the columns of the official tables.

Rules: `bfcl-eval` 2025.6.8, `eval_checker/eval_runner_helper.py`, and ShishirPatil/gorilla 8bf675cc
for the older formula with the executable categories, which the CoALM paper's Table 4 was made with.
A category that was not run counts as 0 in the overall columns and hides every other column that it
belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from coalm.evals.bfcl.categories import CATEGORIES


class Tally(NamedTuple):
    """Right answers of one category, and how many there are."""

    correct: float
    total: int


Columns: TypeAlias = dict[str, float | None]
"""Title to accuracy between 0 and 1; None where a category that it needs was not run."""


class Tables(NamedTuple):
    """The four official tables."""

    overall: Columns
    non_live: Columns
    live: Columns
    multi_turn: Columns


class _Accuracy(NamedTuple):
    value: float
    total: int
    complete: bool = True
    """False when a category behind it was not run."""

    @property
    def shown(self) -> float | None:
        return self.value if self.complete else None


def official_tables(tallies: Mapping[str, Tally], *, executable: bool) -> Tables:
    """All official columns; `executable` chooses the older formula with executable categories."""
    of = {name: _accuracy(name, tallies) for name in CATEGORIES}
    tables = _non_live(of, executable), _live(of), _multi_turn(of)
    return Tables(_columns(_overall(of, *tables)), *map(_columns, tables))


def overall_columns(tallies: Mapping[str, Tally], *, executable: bool) -> Columns:
    """The columns of the table `overall` alone; a bootstrap asks thousands of times."""
    of = {name: _accuracy(name, tallies) for name in CATEGORIES}
    return _columns(_overall(of, _non_live(of, executable), _live(of), _multi_turn(of)))


def _overall(
    of: Mapping[str, _Accuracy],
    non_live: Mapping[str, _Accuracy],
    live: Mapping[str, _Accuracy],
    multi_turn: Mapping[str, _Accuracy],
) -> dict[str, _Accuracy]:
    parts = [non_live["Non_Live Overall Acc"], live["Live Overall Acc"]]
    overall = {"Overall Acc": _always(_mean([*parts, multi_turn["Multi Turn Overall Acc"]]))}
    overall |= {
        f"Non-Live {short}": non_live[title]
        for title, short in (
            ("AST Summary", "AST Acc"),
            *((f"{kind} AST", f"{kind} AST") for kind in _KINDS),
            ("Exec Summary", "Exec Acc"),
            *((f"{kind} Exec", f"{kind} Exec") for kind in _KINDS),
        )
        if title in non_live
    }
    overall["Live Acc"] = live["Live Overall Acc"]
    overall |= {f"Live {kind} AST": live[f"Python {kind} AST"] for kind in _KINDS}
    overall["Multi Turn Acc"] = multi_turn["Multi Turn Overall Acc"]
    overall |= {f"Multi Turn {part}": multi_turn[part] for part in _MULTI_TURN}
    overall["Relevance Detection"] = of["live_relevance"]
    overall["Irrelevance Detection"] = _mean([of["irrelevance"], of["live_irrelevance"]])
    return overall


_KINDS = ("Simple", "Multiple", "Parallel", "Parallel Multiple")
_MULTI_TURN = {
    "Base": "multi_turn_base",
    "Miss Func": "multi_turn_miss_func",
    "Miss Param": "multi_turn_miss_param",
    "Long Context": "multi_turn_long_context",
}
TABLE_4 = {
    "Overall Acc": "Overall",
    "Non-Live AST Acc": "Non-live AST",
    "Non-Live Exec Acc": "Non-live Exec",
    "Live Acc": "Live",
    "Multi Turn Acc": "Multi-turn",
    "Relevance Detection": "Relevance",
    "Irrelevance Detection": "Irrelevance",
}
"""Columns of the paper's Table 4: title in `Tables.overall` to a short one."""


def _non_live(of: Mapping[str, _Accuracy], executable: bool) -> dict[str, _Accuracy]:
    ast = {
        "Simple AST": _mean([of["simple"], of["java"], of["javascript"]]),
        "Multiple AST": of["multiple"],
        "Parallel AST": of["parallel"],
        "Parallel Multiple AST": of["parallel_multiple"],
    }
    exe = {
        "Simple Exec": _mean([of["exec_simple"], of["rest"]]),
        "Multiple Exec": of["exec_multiple"],
        "Parallel Exec": of["exec_parallel"],
        "Parallel Multiple Exec": of["exec_parallel_multiple"],
    }
    parts = [*ast.values(), *(exe.values() if executable else ()), of["irrelevance"]]
    table = {
        "Non_Live Overall Acc": _always(_mean(parts)),
        "AST Summary": _mean([*ast.values()]),
        **ast,
        "Python Simple AST": of["simple"],
        "Java Simple AST": of["java"],
        "JavaScript Simple AST": of["javascript"],
        "Irrelevance Detection": of["irrelevance"],
    }
    if executable:
        table |= {"Exec Summary": _mean([*exe.values()]), **exe}
        table |= {"Python Simple Exec": of["exec_simple"], "REST Simple Exec": of["rest"]}
    return table


def _live(of: Mapping[str, _Accuracy]) -> dict[str, _Accuracy]:
    ast = {
        "Python Simple AST": of["live_simple"],
        "Python Multiple AST": of["live_multiple"],
        "Python Parallel AST": of["live_parallel"],
        "Python Parallel Multiple AST": of["live_parallel_multiple"],
    }
    detection = {
        "Irrelevance Detection": of["live_irrelevance"],
        "Relevance Detection": of["live_relevance"],
    }
    return {
        "Live Overall Acc": _always(_weighted_mean([*ast.values(), *detection.values()])),
        "AST Summary": _weighted_mean([*ast.values()]),
        **ast,
        **detection,
    }


def _multi_turn(of: Mapping[str, _Accuracy]) -> dict[str, _Accuracy]:
    parts = {part: of[name] for part, name in _MULTI_TURN.items()}
    return {"Multi Turn Overall Acc": _always(_mean([*parts.values()])), **parts}


def _accuracy(name: str, tallies: Mapping[str, Tally]) -> _Accuracy:
    if name not in tallies:
        return _Accuracy(0.0, CATEGORIES[name].size, complete=False)
    tally = tallies[name]
    return _Accuracy(tally.correct / tally.total, tally.total)


def _mean(parts: Sequence[_Accuracy]) -> _Accuracy:
    return _Accuracy(
        sum(part.value for part in parts) / len(parts),
        sum(part.total for part in parts),
        all(part.complete for part in parts),
    )


def _weighted_mean(parts: Sequence[_Accuracy]) -> _Accuracy:
    total = sum(part.total for part in parts)
    value = sum(part.value * part.total for part in parts) / total
    return _Accuracy(value, total, all(part.complete for part in parts))


def _always(accuracy: _Accuracy) -> _Accuracy:
    return accuracy._replace(complete=True)


def _columns(table: Mapping[str, _Accuracy]) -> Columns:
    return {title: accuracy.shown for title, accuracy in table.items()}
