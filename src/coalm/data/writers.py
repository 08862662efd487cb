"""The second half of a build: the files, each written by one process from the whole spool."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from coalm.data.base import SPLITS, Split
from coalm.data.config import Shape
from coalm.data.intake import BETWEEN, Intake, Row
from coalm.data.spool import spooled
from coalm.data.tally import Kind, Rows, Tally
from coalm.errors import MissingExtraError

if TYPE_CHECKING:
    import pyarrow as pa

_SUFFIX = {
    "conversations": ".jsonl",
    "alpaca": ".alpaca.jsonl",
    "messages": ".messages.jsonl",
    "parquet": ".parquet",
}


FILE_NAMES = frozenset(split + suffix for split in SPLITS for suffix in _SUFFIX.values())
"""Every file of rows that a build may write."""


class Job(NamedTuple):
    """One file to write."""

    split: Split
    shape: Shape
    evicted: frozenset[int]
    """Keys of spooled rows that lost their place under a limit."""

    @property
    def name(self) -> str:
        """Name of the file."""
        return file_name(self.split, self.shape)


class Written(NamedTuple):
    """One file that was written."""

    name: str
    shape: Shape
    sha256: str
    rows: list[Rows]
    """What it holds."""


def file_name(split: Split, shape: Shape) -> str:
    """Name of the file that holds the rows of a split in one shape."""
    return split + _SUFFIX[shape]


def write(intake: Intake, job: Job) -> Written:
    """Write one file beside the spool and onto the disk.

    Raises:
        MissingExtraError: Parquet without pyarrow.
    """
    tally = Tally()
    path = intake.folder.parent / job.name
    if job.shape == "parquet":
        _write_parquet(path, _rows(intake.folder, job, tally))
    else:
        _write_lines(path, _LINES[job.shape], _rows(intake.folder, job, tally))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return Written(job.name, job.shape, checksum, tally.rows())


def _rows(folder: Path, job: Job, tally: Tally) -> Iterator[list[Row]]:
    """The rows of a split in their order, a bucket at a time, counted."""
    for bucket in spooled(folder, job.split):
        rows = [Row(*fields) for key, fields in bucket if key not in job.evicted]
        for row in rows:
            tally.add(_kind(job.split, *row[1:4]), int(row.prompt), int(row.reply))
        yield rows


@cache
def _kind(split: Split, source: bytes, skill: bytes, prompt_format: bytes) -> Kind:
    return Kind(split, *map(json.loads, (source, skill, prompt_format)))


def _write_lines(path: Path, line: Callable[[Row], bytes], buckets: Iterator[list[Row]]) -> None:
    with path.open("wb") as file:
        for rows in buckets:
            file.writelines(map(line, rows))


def _conversation_line(row: Row) -> bytes:
    return row.conversation + b"\n"


def _alpaca_line(row: Row) -> bytes:
    return b'{"instruction": %b, "input": %b, "output": %b}\n' % (
        row.instruction,
        row.input,
        row.output,
    )


def _messages_line(row: Row) -> bytes:
    return (
        b'{"id": %b, "source": %b, "skill": %b, "format": %b, "group": %b, '
        b'"messages": [%b], "tools": %b}\n'
    ) % (*row[:5], row.messages.replace(_BETWEEN, b", "), row.tools)


_BETWEEN = BETWEEN.encode()
_LINES: dict[Shape, Callable[[Row], bytes]] = {
    "conversations": _conversation_line,
    "alpaca": _alpaca_line,
    "messages": _messages_line,
}
_TEXTS = ("id", "source", "skill", "format", "group", "instruction", "input", "output")
"""Columns of plain text in Parquet, before `messages` and `tools`."""


def parquet_schema() -> pa.Schema:
    """The columns of the Parquet files.

    Messages and tools are JSON: as structs, every message and every schema would get the keys of
    all others, filled with nulls. `datasets` gives JSON columns back as objects, and other readers
    as text.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa

    except ModuleNotFoundError as e:
        raise MissingExtraError("pyarrow", "data") from e
    kind = pa.json_()
    texts = [pa.field(name, pa.string(), nullable=False) for name in _TEXTS]
    lists = [("messages", pa.list_(kind)), ("tools", kind)]
    return pa.schema([*texts, *(pa.field(name, of, nullable=False) for name, of in lists)])


def _write_parquet(path: Path, buckets: Iterator[list[Row]]) -> None:
    import pyarrow.parquet as pq

    schema = parquet_schema()
    repeated = ["source", "skill", "format", "instruction", "tools"]
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeated) as writer:
        for rows in buckets:
            writer.write_batch(_batch(rows, schema))


def _batch(rows: list[Row], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    columns: list[pa.Array] = [
        pa.array([json.loads(getattr(row, name)) for row in rows], pa.string()) for name in _TEXTS
    ]
    pieces = [row.messages.split(_BETWEEN) for row in rows]
    offsets = [0]
    for messages in pieces:
        offsets.append(offsets[-1] + len(messages))
    kind = schema.field("tools").type
    texts = pa.array([text.decode() for messages in pieces for text in messages], pa.string())
    columns += [
        pa.ListArray.from_arrays(offsets, pa.ExtensionArray.from_storage(kind, texts)),
        pa.ExtensionArray.from_storage(
            kind, pa.array([row.tools.decode() for row in rows], pa.string())
        ),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
