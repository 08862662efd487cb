"""From sources to files: choose, split, check, render, shuffle, write.

Everything is made in a folder `.partial-*` inside the output folder and moved into place when all
is written, the manifest last. A build that is interrupted leaves a former one as it was; the next
one starts anew. Which sample goes where is decided by hashes of seed and sample, so the bytes
depend on the inputs and the configuration alone, and not on the number of processes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from coalm import jsonl
from coalm.data.base import Ledger, ShardedSource, Source, Watch
from coalm.data.card import SNIPPET, write_card
from coalm.data.config import DataConfig
from coalm.data.intake import Intake, Taken, Task
from coalm.data.manifest import MANIFEST, Manifest, report, sha256, versions
from coalm.data.shapes import Renderer
from coalm.data.validate import VIOLATES
from coalm.data.workers import Workers, cores
from coalm.data.writers import FILE_NAMES, jobs, parquet_schema, write
from coalm.errors import DataError

_REJECTED = "rejected.jsonl"
_PARTIAL = ".partial-"


def build(
    config: DataConfig, sources: Sequence[Source], watch: Watch = lambda _source, _samples: None
) -> Manifest:
    """Write the rows of all sources into `config.output_dir`.

    For each split the conversations (`SPLIT.jsonl`) and a file for each of `config.outputs`, line
    by line the same samples. Beside them a card, `rejected.jsonl` and `manifest.json`.

    Raises:
        DataError: a source has no sample, or a file cannot be read or written.
        FormatError: the configuration names an instruction text that cannot be used.
        MissingExtraError: Parquet is wanted, and pyarrow is not installed.
    """
    Renderer(config.instructions)
    if "parquet" in config.outputs:
        parquet_schema()
    try:
        partial = _new_folder(config.output_dir)
        try:
            manifest = _build_in(partial, config, sources, watch)
            _move_into_place(partial, config.output_dir)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as e:
        name = e.filename or config.output_dir
        raise DataError(f"{name}: cannot be read or written: {e.strerror or e}") from e
    return manifest


def _new_folder(output: Path) -> Path:
    """An empty folder of this build's own; what an interrupted one left behind is removed."""
    output.mkdir(parents=True, exist_ok=True)
    for left in output.glob(f"{_PARTIAL}*"):
        shutil.rmtree(left, ignore_errors=True)
    # a new name every time: a process that outlives its killed build writes to nowhere
    return Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=output))


def _build_in(
    folder: Path, config: DataConfig, sources: Sequence[Source], watch: Watch
) -> Manifest:
    spool = folder / "spool"
    spool.mkdir()
    count = config.workers or cores()
    with Workers(count, Intake, config, sources, spool) as workers:
        taken = _take_all(workers, sources, watch)
        _refuse_empty(taken, sources)
        _refuse_violations(config, sources)
        evicted = frozenset(_evicted(taken, config, sources))
        written = list(workers.each(write, jobs(config.outputs, evicted)))
    shutil.rmtree(spool)
    jsonl.write(folder / _REJECTED, _rejections(sources))
    files = {_REJECTED: sha256(folder / _REJECTED)}
    for job in written:
        files |= job.files
    used = {name: version for part in taken for name, version in part.versions.items()}
    manifest = Manifest(
        config=config.model_dump(mode="json", exclude={"workers"}),
        sources={source.name: report(source.ledger) for source in sources},
        rows=[row for job in written if f"{job.split}.jsonl" in job.files for row in job.rows],
        files=dict(sorted(files.items())),
        versions=versions(used, ["pyarrow"] if "parquet" in config.outputs else []),
    )
    write_card(folder, manifest)
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return manifest


def _take_all(workers: Workers[Intake], sources: Sequence[Source], watch: Watch) -> list[Taken]:
    """Have all samples spooled; afterwards the sources' ledgers are complete."""
    taken: list[Taken] = []
    for part in workers.each(Intake.take, _tasks(sources)):
        watch(sources[part.source].name, part.samples)
        taken.append(part)
    for number, source in enumerate(sources):
        ledger = Ledger()
        for part in taken:
            if part.source == number:
                ledger.add(part.ledger)
        ledger.add(source.ledger.drain())
        source.ledger.add(ledger)
    return taken


def _tasks(sources: Sequence[Source]) -> Iterator[Task]:
    """The pieces of work; large ones come first, so that no process sits idle at the end."""
    for number, source in enumerate(sources):
        if not isinstance(source, ShardedSource):
            yield Task(number, None, Ledger())
    for number, source in enumerate(sources):
        if isinstance(source, ShardedSource):
            for shard in source.shards():
                yield Task(number, shard, source.ledger.drain())


def _refuse_empty(taken: Sequence[Taken], sources: Sequence[Source]) -> None:
    """Say no to a source without samples.

    Raises:
        DataError: there is one.
    """
    full = {part.source for part in taken if part.spooled}
    for number, source in enumerate(sources):
        if number not in full and not source.ledger.absent:
            rejected = source.ledger.rejected
            first = " ".join(rejected[0]) if rejected else "see its weight, and max_characters"
            raise DataError(f"source {source.name} gives no sample: {first}")


def _refuse_violations(config: DataConfig, sources: Sequence[Source]) -> None:
    """Say no to a data set when a source has a false sample that may not just be left out.

    Raises:
        DataError: a sample of some source violates a criterion; names the first ones.
    """
    found = [
        rejection
        for source in sources
        if (config.on_violation or config.settings(source.name).on_violation) == "fail"
        for rejection in source.ledger.rejected
        if rejection.reason.startswith(VIOLATES)
    ]
    if found:
        first = "; ".join(f"{where} {reason}: {detail}" for where, reason, detail in found[:3])
        number = f"{len(found):,} samples are" if len(found) > 1 else "1 sample is"
        raise DataError(
            f"{number} not sound: {first}; correct the raw files, or leave such samples out with "
            "on_violation=drop"
        )


def _evicted(taken: Sequence[Taken], config: DataConfig, sources: Sequence[Source]) -> set[int]:
    """Keys of the rows that are in the spool, but have no place under their source's limit."""
    evicted: set[int] = set()
    for number, source in enumerate(sources):
        limit = config.settings(source.name).limit
        if limit is not None:
            places = sorted(p for part in taken if part.source == number for p in part.places)
            evicted |= {key for _, key in places[limit:]}
    return evicted


def _rejections(sources: Sequence[Source]) -> Iterator[dict[str, str]]:
    for source in sources:
        for rejection in source.ledger.rejected:
            yield {"source": source.name, **rejection._asdict()}


def _move_into_place(partial: Path, output: Path) -> None:
    """Replace a former build file by file; while that lasts, there is no manifest."""
    (output / MANIFEST).unlink(missing_ok=True)
    made = {path.name for path in partial.iterdir()}
    for name in {*FILE_NAMES, SNIPPET} - made:
        # of a former build with other shapes
        (output / name).unlink(missing_ok=True)
    for name in sorted(made, key=lambda name: name == MANIFEST):
        (partial / name).replace(output / name)
