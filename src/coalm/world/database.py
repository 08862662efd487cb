"""The SQLite database of the mini world; it knows nothing of the services in it."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from coalm.errors import ToolError
from coalm.world.rules import Row

Value: TypeAlias = str | int | None

MOST_ROWS = 10
"""A search returns at most so many rows, as SGD's services do."""

_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""No 0, 1, I or O: reference numbers are read out loud."""


class Database:
    """A world's data; two databases of one seed hold the same rows until someone books."""

    def __init__(self, seed: int, path: Path | None = None) -> None:
        self.seed = seed
        # An agent may run its tools in another thread; SQLite itself takes calls one by one.
        self._connection = sqlite3.connect(
            path or ":memory:", isolation_level=None, check_same_thread=False
        )
        weakref.finalize(self, self._connection.close)

    def copy(self, path: Path | None = None) -> Database:
        """A database of its own with the same rows, in memory or in the file `path`."""
        twin = Database(self.seed, path)
        self._connection.backup(twin._connection)
        return twin

    def script(self, sql: str) -> None:
        """Run several statements (table definitions)."""
        self._connection.executescript(sql)

    def rows(self, sql: str, *values: Value) -> list[Row]:
        """All rows of a query, every value as text."""
        cursor = self._connection.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, map(str, row), strict=True)) for row in cursor]

    def number(self, sql: str, *values: Value) -> int:
        """The one whole number that a query yields; 0 for NULL."""
        return self._connection.execute(sql, values).fetchone()[0] or 0

    def search(self, table: str, columns: Sequence[str], wanted: Mapping[str, Value]) -> list[Row]:
        """Up to `MOST_ROWS` rows that equal all `wanted` but the Nones, in the order of filling."""
        where, given = _where(wanted)
        sql = f"SELECT {', '.join(columns)} FROM {table} WHERE {where} ORDER BY rowid LIMIT ?"
        return self.rows(sql, *given, MOST_ROWS)

    def insert(self, table: str, rows: Iterable[Sequence[Value]]) -> None:
        """Add rows whose values stand in the order of the table's columns."""
        rows = list(rows)
        marks = ", ".join("?" * len(rows[0]))
        self._connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)

    def change(self, sql: str, *values: Value) -> None:
        """Run an UPDATE."""
        self._connection.execute(sql, values)

    def pick(
        self,
        rng: random.Random,
        table: str,
        columns: Sequence[str],
        wanted: Mapping[str, Value] | None = None,
    ) -> Row:
        """One row drawn from those that equal all `wanted`, or from all where none does."""
        where, given = _where(wanted or {})
        count = self.number(f"SELECT count(*) FROM {table} WHERE {where}", *given)
        if not count:
            return self.pick(rng, table, columns)
        sql = f"SELECT {', '.join(columns)} FROM {table} WHERE {where} ORDER BY rowid LIMIT ?, 1"
        return self.rows(sql, *given, rng.randrange(count))[0]

    def book(self, table: str, *values: Value) -> str:
        """Add a row under a new reference number, which is the table's first column.

        The number follows from the seed, the values and the bookings before it.
        """
        turn = self.number(f"SELECT max(rowid) FROM {table}")
        while True:
            turn += 1
            reference = _reference(self.seed, table, *values, turn)
            taken = f"SELECT count(*) FROM {table} WHERE reference_number = ?"
            if not self.number(taken, reference):
                break
        self.insert(table, [(reference, *values)])
        return reference

    def cancel(self, table: str, columns: Sequence[str], reference: str) -> list[Row]:
        """Delete a booking; returns what it was.

        Raises:
            ToolError: no booking has that number.
        """
        found = self.search(table, columns, {"reference_number": reference})
        if not found:
            raise ToolError(f"nothing is booked under the reference number {reference!r}")
        self._connection.execute(
            f"DELETE FROM {table} WHERE reference_number = ?", (found[0]["reference_number"],)
        )
        return found


def _where(wanted: Mapping[str, Value]) -> tuple[str, list[Value]]:
    # Without regard to case, because models and people write names loosely.
    given = {name: value for name, value in wanted.items() if value is not None}
    sql = " AND ".join(f"{name} = ? COLLATE NOCASE" for name in given) or "TRUE"
    return sql, list(given.values())


def _reference(*parts: Value) -> str:
    text = "/".join(map(str, parts))
    digest = hashlib.blake2b(text.encode(), digest_size=6).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest)
