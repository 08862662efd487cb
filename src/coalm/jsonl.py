"""JSON-lines files: read them with line numbers, append rows that survive a kill, replace whole.

A row counts once its newline is on disk. A process that is killed while it writes leaves a torn
last line; `recover` cuts it off, so that a resumed job never doubles or loses a row.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from coalm.errors import DataError

_TAIL = 1 << 16


def dumps(row: Mapping[str, Any]) -> str:
    """One row as compact JSON text; lone surrogates are escaped, so the text is always UTF-8.

    Raises:
        DataError: the row holds something that JSON cannot say (NaN, a set, ...).
    """
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(row, ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as e:
        raise DataError(f"row cannot be written as JSON: {e}") from e
    return text


def read(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, row) of a .jsonl or .jsonl.gz file; blank lines are skipped.

    Raises:
        DataError: the file is missing, or a line is not a JSON object (file:line named).
    """
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as e:
            raise DataError(f"{path}:{number}: not JSON: {e}") from e
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: expected a JSON object, got {type(row).__name__}")
        yield number, row


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                yield number, raw.decode("utf-8")
    except FileNotFoundError as e:
        raise DataError(f"{path}: no such file") from e
    except UnicodeDecodeError as e:
        raise DataError(f"{path}: not UTF-8: {e}") from e
    except (OSError, EOFError) as e:
        raise DataError(f"{path}: cannot be read: {e}") from e


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write all rows to `path` at once (never half a file); returns how many there were."""
    count = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.tmp")
    with scratch.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(dumps(row) + "\n")
            count += 1
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    return count


def recover(path: Path) -> int:
    """Cut off a torn last line, if there is one; returns the number of bytes dropped."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        keep = _end_of_last_line(file, size)
        if keep < size:
            file.truncate(keep)
        return size - keep


def _end_of_last_line(file: BinaryIO, size: int) -> int:
    end = size
    while end > 0:
        start = max(0, end - _TAIL)
        file.seek(start)
        at = file.read(end - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


class Appender:
    """Appends rows to a file, each on disk before `append` returns.

    Opening it recovers the file first. Use as a context manager.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.dropped = recover(path)
        """Bytes of a torn last line that were cut off on opening."""
        self._file = path.open("a", encoding="utf-8")

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row and flush it to the disk."""
        self._file.write(dumps(row) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()

    def __enter__(self) -> Appender:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
