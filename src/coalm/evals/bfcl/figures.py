"""What a run of BFCL comes to: the official columns, and what of them is only a guess."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from coalm.evals.bfcl.aggregate import Tally, overall_columns
from coalm.evals.bfcl.categories import CATEGORIES, PARTS, Category

_AST = tuple(name for name in PARTS["non_live"] if CATEGORIES[name].scoring == "ast")
_CURRENT = (*PARTS["non_live"], *PARTS["live"], *PARTS["multi_turn"])


class _Figure(NamedTuple):
    """One figure: a column of an official table, and what it takes."""

    about: str
    column: str
    needs: tuple[str, ...]
    """Categories without which it is not given."""
    executable: bool = False
    """Whether it is of the older formula with the executable categories."""


_COLUMNS = {
    "overall": _Figure("official overall score since April 2025", "Overall Acc", _CURRENT),
    "non-live AST": _Figure("simple, multiple, parallel calls", "Non-Live AST Acc", _AST),
    "live": _Figure("questions of real users", "Live Acc", PARTS["live"]),
    "multi-turn": _Figure("dialogues with back ends", "Multi Turn Acc", PARTS["multi_turn"]),
    "relevance": _Figure("calls where one is due", "Relevance Detection", ("live_relevance",)),
    "irrelevance": _Figure(
        "no call where none is due",
        "Irrelevance Detection",
        ("irrelevance", "live_irrelevance"),
    ),
    "exec (partly guessed)": _Figure(
        "executable entries, those that need a network judged by a guess",
        "Non-Live Exec Acc",
        PARTS["exec"],
        executable=True,
    ),
    "overall (exec partly guessed)": _Figure(
        "overall score of the CoALM paper's time, executable entries as above",
        "Overall Acc",
        (*_CURRENT, *PARTS["exec"]),
        executable=True,
    ),
}
_OFFLINE = "exec (offline part)"
_JUDGED, _GUESSED = "judged", "guessed"
_GUESSES = "accuracy (guessed)"
FIGURES = {
    "accuracy": "right answers, every sample alike but those that were guessed",
    _GUESSES: "the same of the executable entries that need a network, whose verdict is a guess",
    **{name: figure.about for name, figure in _COLUMNS.items()},
    _OFFLINE: "executable entries that need no network, each category alike",
}
"""Every figure and what it says."""
MAIN_FIGURES = ("accuracy", "overall", _GUESSES)
"""The last one only where a verdict is guessed."""


def values(category: Category, right: bool, *, guessed: bool, offline: bool) -> dict[str, float]:
    """What one sample adds to the sums that `figures` takes.

    A guess at a verdict is never added to what was judged.
    """
    kind = _GUESSED if guessed else _JUDGED
    names = [kind, category.name, *([f"{category.name} offline"] if offline else [])]
    counted = {"right": float(right)}
    for name in names:
        counted |= {name: 1.0, f"{name} right": float(right)}
    return counted


def figures(totals: Mapping[str, float]) -> dict[str, float]:
    """The figures, in percent, that sums of `values` allow; a category never asked has no sum."""
    names = tuple(name for name in CATEGORIES if name in totals)
    tallies = {name: _tally(totals, name) for name in names}
    found = {
        figure: tally.correct / tally.total
        for figure, kind in (("accuracy", _JUDGED), (_GUESSES, _GUESSED))
        if kind in totals
        for tally in [_tally(totals, kind)]
    }
    given = _given(names)
    tables = {
        kind: overall_columns(tallies, executable=kind)
        for kind in {_COLUMNS[name].executable for name in given}
    }
    for name in given:
        figure = _COLUMNS[name]
        found[name] = tables[figure.executable][figure.column] or 0.0
    parts = [f"{name} offline" for name in PARTS["exec"] if f"{name} offline" in totals]
    if parts:
        rates = [tally.correct / tally.total for tally in (_tally(totals, p) for p in parts)]
        found[_OFFLINE] = sum(rates) / len(rates)
    return {name: 100 * found[name] for name in FIGURES if name in found}


@cache
def _given(categories: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that these categories allow; a bootstrap asks thousands of times."""
    return tuple(name for name, figure in _COLUMNS.items() if {*categories} >= {*figure.needs})


def _tally(totals: Mapping[str, float], name: str) -> Tally:
    if totals[name]:
        return Tally(totals[f"{name} right"], round(totals[name]))
    # a draw of the bootstrap may miss a small category: there the whole draw stands in
    return Tally(totals["right"], round(totals["samples"]))
