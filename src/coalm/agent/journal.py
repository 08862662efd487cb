"""Rows of a long job as they get done, each on disk before the next, in whatever order they come.

The first line says what job the file belongs to; every other one is `{"place", "state", "row"}`. A
later row of a place stands for the earlier ones. Only places and states are kept in memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from coalm import jsonl
from coalm.errors import DataError


class _Entry(NamedTuple):
    state: str
    offset: int
    """Where in the file its line begins."""


class Journal:
    """The rows of one job; use as a context manager."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Go on with the file of this job, or begin it.

        Raises:
            DataError: the file belongs to another job, or holds something else.
        """
        self.path = path
        self._entries: dict[int, _Entry] = {}
        jsonl.recover(path)
        if not path.exists() or not path.stat().st_size:
            jsonl.write(path, [about])
        self._file = path.open("r+b")
        try:
            self._read(about)
        except BaseException:
            self._file.close()
            raise

    def _read(self, about: Mapping[str, Any]) -> None:
        try:
            check_job(self.path, dict(json.loads(self._file.readline())), about)
            offset = self._file.tell()
            while line := self._file.readline():
                entry = json.loads(line)
                self._entries[entry["place"]] = _Entry(entry["state"], offset)
                offset += len(line)
        except (ValueError, KeyError, TypeError) as e:
            raise DataError(f"{self.path}: not a journal of coalm: {e!r}; delete it") from e

    def state(self, place: int) -> str | None:
        """The state of a place; None while it has no row."""
        entry = self._entries.get(place)
        return entry.state if entry else None

    def row(self, place: int) -> dict[str, Any]:
        """The row of a place that has one."""
        self._file.seek(self._entries[place].offset)
        return json.loads(self._file.readline())["row"]

    def add(self, place: int, state: str, row: Mapping[str, Any]) -> None:
        """Put a row on disk."""
        line = jsonl.dumps({"place": place, "state": state, "row": row})
        offset = self._file.seek(0, os.SEEK_END)
        self._file.write(f"{line}\n".encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._entries[place] = _Entry(state, offset)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def check_job(path: Path, found: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Refuse a file that another job began.

    Raises:
        DataError: the two differ; the message names the first difference.
    """
    before, now = _flat(found), _flat(json.loads(jsonl.dumps(about)))
    for key in dict.fromkeys([*before, *now]):
        if before.get(key) != now.get(key):
            raise DataError(
                f"{path} was begun with {key} {before.get(key)!r}, now it is {now.get(key)!r}; go "
                "on with the former, delete the file, or take another output"
            )


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        inner = _flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
        leaves |= inner
    return leaves
