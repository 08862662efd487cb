"""The first half of a build: samples are drawn, checked, rendered and spooled, in any process.

A task is one shard of a source, or a source as a whole. What becomes of a sample depends on the
seed and on the sample alone, never on the tasks before it: so it is the same in all processes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from coalm.data.base import Ledger, Shard, ShardedSource, Source, Split, chance, draw
from coalm.data.config import DataConfig
from coalm.data.shapes import Renderer, Shapes
from coalm.data.spool import Spool
from coalm.data.validate import Validator
from coalm.errors import FormatError
from coalm.formats.text import write_json
from coalm.formats.tool_text import tool_text_meta
from coalm.types import Conversation

BETWEEN = "\x1e"
"""Stands between messages in the spool; JSON text never holds it."""


class Task(NamedTuple):
    """A piece of work of its own."""

    source: int
    """Which of the build's sources."""
    shard: Shard | None
    """None reads the whole source."""
    ledger: Ledger
    """What the source had to say before it came to this."""


class Taken(NamedTuple):
    """What came of a task."""

    source: int
    samples: int
    """How many samples were read."""
    spooled: int
    """How many rows they gave."""
    places: list[tuple[int, int]]
    """Under a limit: number and key of every spooled row; those with the lowest numbers stay."""
    ledger: Ledger
    versions: dict[str, str]
    """Prompt formats that were used, with their versions."""


class _Room:
    """Places for the samples of one task: under a limit, those with the lowest numbers stay."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._lowest: list[int] = []
        self.entered: list[tuple[int, int]] = []
        """Number and key of all that ever had a place; empty without a limit."""

    def has_place(self, number: int) -> bool:
        """Whether a sample with this number would get a place."""
        if self._limit is None or len(self._lowest) < self._limit:
            return True
        return number < -self._lowest[0]

    def enter(self, number: int, key: int) -> None:
        """Give a sample a place, if need be that of another one."""
        if self._limit is not None:
            self.entered.append((number, key))
            heapq.heappush(self._lowest, -number)
            if len(self._lowest) > self._limit:
                heapq.heappop(self._lowest)


class Intake:
    """Takes samples in; every process of a build has one."""

    def __init__(self, config: DataConfig, sources: Sequence[Source], folder: Path) -> None:
        """Spool into `folder`."""
        self._config = config
        self._sources = sources
        self.folder = folder
        """The spool."""
        self._renderer = Renderer(config.instructions)

    def take(self, task: Task) -> Taken:
        """Spool the samples of one task."""
        source = self._sources[task.source]
        own = Ledger()
        validator = Validator(own)
        room = _Room(self._config.settings(source.name).limit)
        samples = spooled = 0
        with Spool(self.folder) as spool:
            for conversation in _conversations(source, task.shard):
                samples += 1
                for split, copy in self._copies(source.name, conversation):
                    number = draw(self._config.seed, "limit", copy.id)
                    if not room.has_place(number) or not validator.admits(copy):
                        continue
                    if (shapes := self._render(copy, own)) is None:
                        continue
                    key = draw(self._config.seed, "order", copy.id)
                    room.enter(number, key)
                    spool.add(split, key, _fields(copy, shapes))
                    spooled += 1
        for ledger in (source.ledger.drain(), own):
            task.ledger.add(ledger)
        return Taken(
            task.source, samples, spooled, room.entered, task.ledger, self._renderer.versions()
        )

    def _copies(
        self, source: str, conversation: Conversation
    ) -> Iterator[tuple[Split, Conversation]]:
        """The sample as often as its source's weight says, with the split that it falls into."""
        tool_text = self._config.settings(source).tool_text or self._config.tool_text
        if shown := tool_text_meta(tool_text):
            meta = {**conversation.meta, **shown}
            conversation = conversation.model_copy(update={"meta": meta})
        split = self._split(conversation)
        settings = self._config.settings(source)
        whole = int(settings.weight)
        drawn = conversation.meta["group"] if settings.thin == "groups" else conversation.id
        more = chance(self._config.seed, "weight", drawn) < settings.weight - whole
        number = whole + more
        for copy in range(min(number, 1) if split == "validation" else number):
            # ids stay unique, so that a copy has a place of its own in the order
            new = {"id": f"{conversation.id}#{copy + 1}"}
            yield split, conversation.model_copy(update=new) if copy else conversation

    def _split(self, conversation: Conversation) -> Split:
        own = conversation.meta.get("split")
        if own is not None:
            return "validation" if own == "validation" else "train"
        number = chance(self._config.seed, "split", conversation.meta["group"])
        return "validation" if number < self._config.validation_share else "train"

    def _render(self, conversation: Conversation, ledger: Ledger) -> Shapes | None:
        """The sample as text; None, said in the ledger, when it cannot be or is too long."""
        try:
            shapes = self._renderer.render(conversation)
        except (FormatError, ValueError) as e:
            ledger.reject(conversation.id, "cannot be written", str(e))
            return None
        length, most = shapes.prompt + shapes.reply, self._config.max_characters
        if most is not None and length > most:
            ledger.counts["longer than max_characters"] += 1
            return None
        return shapes


def _conversations(source: Source, shard: Shard | None) -> Iterator[Conversation]:
    if shard is not None and isinstance(source, ShardedSource):
        return source.read_shard(shard)
    return source.conversations()


class Row(NamedTuple):
    """What the spool keeps of a sample; all but the two lengths as JSON text."""

    id: bytes
    source: bytes
    skill: bytes
    format: bytes
    group: bytes
    prompt: bytes
    reply: bytes
    conversation: bytes
    instruction: bytes
    input: bytes
    output: bytes
    messages: bytes
    """One after the other, with `BETWEEN` between them."""
    tools: bytes


def _fields(conversation: Conversation, shapes: Shapes) -> list[str]:
    """The columns of `Row`."""
    names = [str(conversation.meta[name]) for name in ("source", "skill", "format", "group")]
    return [
        *map(write_json, [conversation.id, *names]),
        *(str(shapes.prompt), str(shapes.reply)),
        *(shapes.conversation, shapes.instruction, shapes.input, shapes.output),
        *(BETWEEN.join(shapes.messages), shapes.tools),
    ]
