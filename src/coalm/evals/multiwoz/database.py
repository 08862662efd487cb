"""The venues and trains of Cambridge, and which of them meet a set of constraints.

A row of `attraction_db.json`::

    {"name": "abbey pool and astroturf pitch", "type": "swimmingpool", "area": "east", "id": "1",
     "address": "pool way, whitehill road, off newmarket road", "phone": "01223902088",
     "postcode": "cb58nt", "entrance fee": "?", "pricerange": "?", "location": [...], ...}

The query rules are those of mwzeval (Tomiinek/MultiWOZ_Evaluation, `mwzeval/database.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import TypeAlias

from pydantic import JsonValue, TypeAdapter, ValidationError

from coalm.errors import DataError
from coalm.evals.multiwoz.fuzzy import partial_ratio
from coalm.evals.multiwoz.normalize import DONT_CARE, evaluator_slot, minutes
from coalm.evals.multiwoz.release import Release

Row: TypeAlias = Mapping[str, str]
"""Column to text; columns are named as state slots are (`arrive`, `leave`, `entrancefee`)."""

TABLES = ("restaurant", "hotel", "attraction", "train")
"""Domains that can be searched."""

_NO_COLUMNS = {
    "restaurant": {"location", "introduction", "signature"},
    "hotel": {"location", "price", "takesbookings"},
    "attraction": {"location", "openhours"},
    "train": set[str](),
}
_FUZZY_COLUMNS = {
    "restaurant": {"name", "food"},
    "hotel": {"name"},
    "attraction": {"name"},
    "train": {"departure", "destination"},
}
_ALIKE = 90
_ANYTHING = "?"
_ROWS = TypeAdapter(list[dict[str, JsonValue]])


class Database:
    """Four tables that can be searched."""

    def __init__(self, tables: Mapping[str, Sequence[Row]]) -> None:
        self._tables = {domain: _Table(domain, tables[domain]) for domain in TABLES}

    @classmethod
    def load(cls, release: Release) -> Database:
        """Read the tables of a release.

        Raises:
            DataError: a file is missing or damaged.
        """
        return cls({domain: _read_table(release, domain) for domain in TABLES})

    def rows(self, domain: str) -> Sequence[Row]:
        """All rows of a table; none for a domain without a table."""
        return self._tables[domain].rows if domain in self._tables else ()

    def find(self, domain: str, constraints: Mapping[str, str]) -> list[Row]:
        """Rows that meet all constraints, in the order of the table.

        Args:
            domain: One without a table has no rows.
            constraints: Slot to value, both as `normalize.evaluator_value` gives them. Slots that
                are no column (booking slots, for example) are passed over.
        """
        if domain not in self._tables:
            return []
        table = self._tables[domain]
        return [table.rows[at] for at in table.find(constraints)]

    def ids(self, domain: str, constraints: Mapping[str, str]) -> frozenset[str]:
        """Ids of the rows that `find` finds; several trains share one id."""
        if domain not in self._tables:
            return frozenset()
        table = self._tables[domain]
        return frozenset(table.ids[at] for at in table.find(constraints))


class _Table:
    """Rows, and for every constraint met so far the positions of the rows that meet it."""

    def __init__(self, domain: str, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.ids = [row["trainid" if domain == "train" else "id"] for row in rows]
        self._fuzzy = _FUZZY_COLUMNS[domain]
        self._columns = {column: _positions(rows, column) for column in rows[0]}
        self._known: dict[tuple[str, str], frozenset[int]] = {}

    def find(self, constraints: Mapping[str, str]) -> Sequence[int]:
        met = [
            self._meeting(column, value)
            for column, value in constraints.items()
            if column in self._columns and value not in DONT_CARE and value != "not mentioned"
        ]
        return sorted(reduce(lambda one, other: one & other, met)) if met else range(len(self.rows))

    def _meeting(self, column: str, value: str) -> frozenset[int]:
        if (column, value) not in self._known:
            fits = _condition(column, value, fuzzy=column in self._fuzzy)
            found = (
                positions
                for cell, positions in self._columns[column].items()
                if cell == _ANYTHING or fits(cell)
            )
            self._known[column, value] = frozenset[int]().union(*found)
        return self._known[column, value]


def _condition(column: str, value: str, *, fuzzy: bool) -> Callable[[str], bool]:
    # an unreadable time is midnight: every train leaves after it, none arrives before it
    if column == "arrive":
        return lambda cell: minutes(cell) <= minutes(value)
    if column == "leave":
        return lambda cell: minutes(cell) >= minutes(value)
    if fuzzy:
        return lambda cell: partial_ratio(cell, value) >= _ALIKE
    return lambda cell: cell == value


def _positions(rows: Sequence[Row], column: str) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for at, row in enumerate(rows):
        if column in row:
            found.setdefault(row[column], set()).add(at)
    return found


def _read_table(release: Release, domain: str) -> Sequence[Row]:
    name = f"{domain}_db.json"
    try:
        rows = _ROWS.validate_json(release.file(name))
    except ValidationError as e:
        raise DataError(f"{release.place}: {name}: {e.errors(include_url=False)[0]['msg']}") from e
    table = [
        {
            evaluator_slot(column): value
            for column, value in row.items()
            if isinstance(value, str) and column not in _NO_COLUMNS[domain]
        }
        for row in rows
    ]
    key = "trainid" if domain == "train" else "id"
    if not table or any(key not in row for row in table):
        raise DataError(f"{release.place}: {name}: expected rows that have a {key!r}")
    return table
