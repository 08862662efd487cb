"""The second half of a build: the files, each written by one process from the whole spool."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from coalm.data.base import SPLITS, Split
from coalm.data.config import Output, Shape
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
    """Files of a split that are written together."""

    split: Split
    shapes: tuple[Shape, ...]
    """All the JSON-lines files, or Parquet alone."""
    evicted: frozenset[int]
    """Keys of spooled rows that lost their place under a limit."""


class Written(NamedTuple):
    """What a job made."""

    split: Split
    files: dict[str, str]
    """Name to sha256."""
    rows: list[Rows]
    """What each of the files holds."""


def file_name(split: Split, shape: Shape) -> str:
    """Name of the file that holds the rows of a split in one shape."""
    return split + _SUFFIX[shape]


def jobs(outputs: Sequence[Output], evicted: frozenset[int]) -> list[Job]:
    """What there is to write, the longest work first.

    The JSON-lines files share a reading of the spool; Parquet takes as long as all of them.
    """
    lines: tuple[Shape, ...] = tuple(s for s in _LINES if s == "conversations" or s in outputs)
    kinds: list[tuple[Shape, ...]] = [("parquet",)] if "parquet" in outputs else []
    return [Job(split, shapes, evicted) for split in SPLITS for shapes in (*kinds, lines)]


def write(intake: Intake, job: Job) -> Written:
    """Write the files of a job beside the spool and onto the disk."""
    tally = Tally()
    paths = [intake.folder.parent / file_name(job.split, shape) for shape in job.shapes]
    buckets = _rows(intake.folder, job, tally)
    if "parquet" in job.shapes:
        _write_parquet(paths[0], buckets)
    else:
        _write_lines(paths, [_LINES[shape] for shape in job.shapes], buckets)
    return Written(job.split, {path.name: _settled(path) for path in paths}, tally.rows())


def _settled(path: Path) -> str:
    """The checksum of a file that is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def _write_lines(
    paths: Sequence[Path],
    lines: Sequence[Callable[[Row], bytes]],
    buckets: Iterator[list[Row]],
) -> None:
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for rows in buckets:
            for file, line in zip(files, lines, strict=True):
                file.writelines(map(line, rows))


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
    "conversations": lambda row: row.conversation + b"\n",
    "alpaca": _alpaca_line,
    "messages": _messages_line,
}
_GROUP = 2048
"""Rows of a Parquet row group, at least: some 30 MB."""
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
    repeated: Any = ["source", "skill", "format", "instruction", "tools"]  # typed as bool there
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeated) as writer:
        for rows in _gathered(buckets):
            writer.write_batch(_batch(rows, schema))


def _gathered(buckets: Iterator[list[Row]]) -> Iterator[list[Row]]:
    """The same rows in larger pieces, none of them empty: each becomes a row group.

    Readers take the size of the first one for how many rows to read at a time.
    """
    gathered: list[Row] = []
    for rows in buckets:
        gathered += rows
        if len(gathered) >= _GROUP:
            yield gathered
            gathered = []
    if gathered:
        yield gathered


def _batch(rows: list[Row], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    pieces = [row.messages.split(_BETWEEN) for row in rows]
    offsets = [0]
    for messages in pieces:
        offsets.append(offsets[-1] + len(messages))
    kind = schema.field("tools").type
    messages = _json_column([text for messages in pieces for text in messages], kind)
    columns = [
        *_text_columns(rows),
        pa.ListArray.from_arrays(offsets, messages),
        _json_column([row.tools for row in rows], kind),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _text_columns(rows: list[Row]) -> list[pa.Array]:
    """The plain texts, out of their JSON by Arrow's own reader: five times as fast as by Python."""
    import pyarrow as pa
    import pyarrow.json as reader

    keys = ", ".join(f'"{name}": %b' for name in _TEXTS).encode()
    lines = b"\n".join(b"{" + keys % tuple(getattr(r, n) for n in _TEXTS) + b"}" for r in rows)
    schema = pa.schema([(name, pa.string()) for name in _TEXTS])
    table = reader.read_json(
        pa.BufferReader(lines),
        read_options=reader.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        parse_options=reader.ParseOptions(explicit_schema=schema),
    )
    return [table.column(name).combine_chunks() for name in _TEXTS]


def _json_column(texts: list[bytes], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    return pa.ExtensionArray.from_storage(kind, pa.array(texts, pa.binary()).cast(pa.string()))
