"""Rows come in the order of the sources and go out shuffled, without all being in memory.

Every row carries a random key. Rows are spread over bucket files by the first bits of their key;
in the end each bucket is read, sorted by key and passed on. The order depends on the keys alone,
not on the order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from coalm.data.base import Split

_BITS = 5
"""32 buckets: 100 MB at a time for a data set of 3 GB."""


class Spool:
    """Bucket files in `folder`; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[tuple[Split, int], BinaryIO] = {}
        folder.mkdir(parents=True)

    def add(self, split: Split, key: int, fields: Sequence[str]) -> None:
        """Put a row down.

        Args:
            split: rows of different splits come out apart.
            key: random, below 2**64.
            fields: texts without tabs and newlines.
        """
        bucket = (split, key >> (64 - _BITS))
        if bucket not in self._files:
            self._files[bucket] = (self._folder / f"{split}-{bucket[1]:02d}").open("w+b")
        self._files[bucket].write(("\t".join((f"{key:016x}", *fields)) + "\n").encode())

    def rows(self, split: Split) -> Iterator[tuple[int, list[str]]]:
        """(key, fields) of all rows of a split, by key."""
        for number in range(1 << _BITS):
            file = self._files.get((split, number))
            if file is None:
                continue
            file.seek(0)
            for line in sorted(file):
                key, *fields = line.decode().removesuffix("\n").split("\t")
                yield int(key, 16), fields

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self._files.values():
            file.close()
