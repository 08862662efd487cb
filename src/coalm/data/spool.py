"""Rows come in the order of the sources and go out shuffled, without all being in memory.

Every row carries a random key. Rows are spread over bucket files by the first bits of their key;
in the end each bucket is read, sorted by key and passed on. The order depends on the keys alone,
not on the order of arrival, nor on which process put a row down.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from coalm.data.base import Split

_BITS = 6
"""64 buckets: 50 MB at a time for a data set of 3 GB."""


class Spool:
    """Puts rows into bucket files, of which every process has its own; a context manager."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which exists."""
        self._folder = folder
        self._files: dict[tuple[Split, int], BinaryIO] = {}

    def add(self, split: Split, key: int, fields: Sequence[str]) -> None:
        """Put a row down.

        Args:
            split: rows of different splits come out apart.
            key: random, below 2**64.
            fields: texts without tabs and newlines.
        """
        bucket = (split, key >> (64 - _BITS))
        if bucket not in self._files:
            name = f"{split}-{bucket[1]:02d}.{os.getpid()}"
            self._files[bucket] = (self._folder / name).open("ab", buffering=1 << 16)
        self._files[bucket].write(("\t".join((f"{key:016x}", *fields)) + "\n").encode())

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


def spooled(folder: Path, split: Split) -> Iterator[list[tuple[int, list[bytes]]]]:
    """(key, fields) of all rows of a split by key, a bucket at a time."""
    for number in range(1 << _BITS):
        lines: list[bytes] = []
        for path in folder.glob(f"{split}-{number:02d}.*"):
            lines += path.read_bytes().split(b"\n")[:-1]
        lines.sort()
        yield [(int(key, 16), fields) for key, *fields in (line.split(b"\t") for line in lines)]
