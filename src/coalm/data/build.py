"""From sources to files: choose, split, render, shuffle, write.

The rows are spooled in `OUTPUT/.partial` and moved into place when all are written, the manifest
last. A build that is interrupted leaves a former one as it was; the next one starts anew. Which
sample goes where is decided by hashes of seed and sample, so the bytes depend on the inputs and the
configuration alone.
"""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic_core import PydanticSerializationError

from coalm import jsonl
from coalm.data.base import SPLITS, Ledger, Source, Split, Watch, chance, draw
from coalm.data.config import DataConfig
from coalm.data.manifest import MANIFEST, Manifest, report, sha256, versions
from coalm.data.spool import Spool
from coalm.data.tally import Kind, Tally
from coalm.data.validate import VIOLATES, Validator
from coalm.errors import DataError, FormatError
from coalm.formats import get_format
from coalm.types import Conversation

_REJECTED = "rejected.jsonl"


def build(config: DataConfig, sources: Sequence[Source], watch: Watch = lambda _: None) -> Manifest:
    """Write the rows of all sources into `config.output_dir`.

    For each split: `SPLIT.jsonl` (conversations) and `SPLIT.alpaca.jsonl` (instruction, input,
    output), line by line the same samples. Beside them `rejected.jsonl` and `manifest.json`.

    Raises:
        DataError: a source has no sample, or a file cannot be read or written.
        FormatError: the configuration names an instruction text that cannot be used.
    """
    partial = config.output_dir / ".partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        intake = _Intake(config)
        with Spool(partial / "spool") as spool:
            for source in sources:
                intake.take(source, spool, watch)
            if config.on_violation == "fail":
                _refuse_violations(sources)
            tally = Tally()
            for split in SPLITS:
                _write(split, spool, intake.evicted, partial, tally)
        shutil.rmtree(partial / "spool")
        jsonl.write(partial / _REJECTED, _rejections(sources))
        manifest = Manifest(
            config=config.model_dump(mode="json"),
            sources={source.name: report(source.ledger) for source in sources},
            rows=tally.rows(),
            files={path.name: sha256(path) for path in sorted(partial.iterdir())},
            versions=versions(intake.formats),
        )
        (partial / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
        _move_into_place(partial, config.output_dir)
    except OSError as e:
        name = e.filename or config.output_dir
        raise DataError(f"{name}: cannot be read or written: {e.strerror or e}") from e
    return manifest


class _Rendered(NamedTuple):
    """A sample as text."""

    conversation: str
    alpaca: str
    prompt: int
    reply: int
    """Characters of the Alpaca texts."""


class _Room:
    """Places for the samples of one source: under a limit, those with the lowest numbers stay."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._taken: list[tuple[int, int]] = []

    def has_place(self, number: int) -> bool:
        """Whether a sample with this number would get a place."""
        if self._limit is None or len(self._taken) < self._limit:
            return True
        return number < -self._taken[0][0]

    def enter(self, number: int, key: int) -> int | None:
        """Give `key` a place; returns the key that lost its own to it, if there is one."""
        if self._limit is None:
            return None
        heapq.heappush(self._taken, (-number, key))
        return heapq.heappop(self._taken)[1] if len(self._taken) > self._limit else None


class _Intake:
    """Decides about every sample, renders it and puts it into the spool."""

    def __init__(self, config: DataConfig) -> None:
        self._config = config
        self.formats = {name: get_format(name, path) for name, path in config.instructions.items()}
        """Formats that were used, or have an instruction text of the user's."""
        self.evicted: set[int] = set()
        """Keys of spooled rows that later lost their place under a limit."""

    def take(self, source: Source, spool: Spool, watch: Watch) -> None:
        """Spool the samples of one source.

        Raises:
            DataError: there is none.
        """
        settings = self._config.settings(source.name)
        room = _Room(settings.limit)
        taken = 0
        validator = Validator(source.ledger)
        for conversation in source.conversations():
            watch(source.name)
            split = self._split(conversation)
            for copy in self._copies(conversation, settings.weight, split):
                number = draw(self._config.seed, "limit", copy.id)
                if not room.has_place(number) or not validator.admits(copy):
                    continue
                if (rendered := self._render(copy, source.ledger)) is None:
                    continue
                key = draw(self._config.seed, "order", copy.id)
                if (loser := room.enter(number, key)) is not None:
                    self.evicted.add(loser)
                spool.add(split, key, _fields(copy, rendered))
                taken += 1
        if not taken:
            rejected = source.ledger.rejected
            first = " ".join(rejected[0]) if rejected else "see its weight, and max_characters"
            raise DataError(f"source {source.name} gives no sample: {first}")

    def _split(self, conversation: Conversation) -> Split:
        own = conversation.meta.get("split")
        if own is not None:
            return "validation" if own == "validation" else "train"
        number = chance(self._config.seed, "split", conversation.meta["group"])
        return "validation" if number < self._config.validation_share else "train"

    def _copies(
        self, conversation: Conversation, weight: float, split: Split
    ) -> Iterator[Conversation]:
        whole = int(weight)
        number = whole + (chance(self._config.seed, "weight", conversation.id) < weight - whole)
        for copy in range(min(number, 1) if split == "validation" else number):
            # ids stay unique, so that a copy has a place of its own in the order
            new = {"id": f"{conversation.id}#{copy + 1}"}
            yield conversation.model_copy(update=new) if copy else conversation

    def _render(self, conversation: Conversation, ledger: Ledger) -> _Rendered | None:
        """The sample as text; None, said in the ledger, when it cannot be or is too long."""
        try:
            row = conversation.model_dump_json(exclude_defaults=True)
            alpaca = self._alpaca(conversation)
        except (FormatError, PydanticSerializationError) as e:
            ledger.reject(conversation.id, "cannot be written", str(e))
            return None
        prompt, reply = len(alpaca["instruction"]) + len(alpaca["input"]), len(alpaca["output"])
        if self._config.max_characters is not None and prompt + reply > self._config.max_characters:
            ledger.counts["longer than max_characters"] += 1
            return None
        return _Rendered(row, jsonl.dumps(alpaca), prompt, reply)

    def _alpaca(self, conversation: Conversation) -> dict[str, str]:
        name = str(conversation.meta["format"])
        if name not in self.formats:
            self.formats[name] = get_format(name)
        prompt_format = self.formats[name]
        *context, target = conversation.messages
        prompt = prompt_format.render_alpaca(
            conversation.model_copy(update={"messages": tuple(context)})
        )
        output = prompt_format.render_reply(target)
        return {"instruction": prompt.instruction, "input": prompt.input, "output": output}


def _fields(conversation: Conversation, rendered: _Rendered) -> list[str]:
    """What the spool keeps of a sample, read again by `_write`."""
    kind = [str(conversation.meta[name]) for name in ("source", "skill", "format")]
    sizes = [str(rendered.prompt), str(rendered.reply)]
    return [*kind, *sizes, rendered.conversation, rendered.alpaca]


def _write(split: Split, spool: Spool, evicted: set[int], folder: Path, tally: Tally) -> None:
    """Write both files of a split, counting what they hold."""
    with (
        (folder / f"{split}.jsonl").open("wb") as rows,
        (folder / f"{split}.alpaca.jsonl").open("wb") as alpaca,
    ):
        for key, fields in spool.rows(split):
            if key in evicted:
                continue
            source, skill, prompt_format, prompt, reply, row, text = fields
            rows.write(f"{row}\n".encode())
            alpaca.write(f"{text}\n".encode())
            tally.add(Kind(split, source, skill, prompt_format), int(prompt), int(reply))


def _refuse_violations(sources: Sequence[Source]) -> None:
    """Say no to a data set with a false sample in it.

    Raises:
        DataError: a sample of some source violates a criterion; names the first ones.
    """
    found = [
        rejection
        for source in sources
        for rejection in source.ledger.rejected
        if rejection.reason.startswith(VIOLATES)
    ]
    if found:
        first = "; ".join(f"{where} {reason}: {detail}" for where, reason, detail in found[:3])
        raise DataError(
            f"{len(found):,} samples are not sound: {first}; correct the raw files or the source, "
            "or set on_violation=drop"
        )


def _rejections(sources: Sequence[Source]) -> Iterator[dict[str, str]]:
    for source in sources:
        for rejection in source.ledger.rejected:
            yield {"source": source.name, **rejection._asdict()}


def _move_into_place(partial: Path, output: Path) -> None:
    """Replace a former build file by file; while that lasts, there is no manifest."""
    (output / MANIFEST).unlink(missing_ok=True)
    for path in sorted(partial.iterdir(), key=lambda path: path.name == MANIFEST):
        path.replace(output / path.name)
    partial.rmdir()
