"""What a source of training conversations is, and where it writes down what it left out.

One sample is one `Conversation` whose last message is the assistant's message to learn; its `meta`
holds `source`, `skill` (TOD, LA or CRA), `format` (a name of `coalm.formats`), `group` (samples of
one group always fall into the same split), `split` where the original data are split, and `said`
(see `Said`) where people annotated what calls rest on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

from pydantic import JsonValue

from coalm.types import Conversation, Message, ToolSchema

Skill = Literal["TOD", "LA", "CRA"]
Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")

Watch = Callable[[str, int], None]
"""Told, for a progress display, where the next samples belong, and how many were read."""

_Item = TypeVar("_Item")


class Said(NamedTuple):
    """What annotators know about an argument of a call whose value was not said as it is."""

    argument: str
    value: str
    """As text."""
    words: str
    """How it was said; empty where no words of the conversation stand for it."""


class Rejection(NamedTuple):
    """One file, record or sample that did not go into the data set."""

    where: str
    """File, `file:line`, `file: row N` or `file: dialogue ID`; the id of a sample."""
    reason: str
    """The kind of fault, the same words every time: rejections are counted by it."""
    detail: str = ""
    """What exactly is wrong here."""


@dataclass
class Ledger:
    """What a source has to say besides its samples; complete once the samples are read."""

    files: list[Path] = field(default_factory=list)
    """Every file that was opened, archives as a whole."""
    absent: list[str] = field(default_factory=list)
    """Why the source as a whole was left out, one line; empty when it was read."""
    missing: list[str] = field(default_factory=list)
    """Files of the data set that this copy of it lacks."""
    rejected: list[Rejection] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """What was read: files, dialogues, rows, ..."""
    checked: Counter[str] = field(default_factory=Counter)
    """What the validation looked at: samples, calls, arguments by kind of evidence, thoughts."""
    violations: Counter[str] = field(default_factory=Counter)
    """Criterion to the number of samples that violate it; `rejected` names them."""

    def reject(self, where: str, reason: str, detail: str = "") -> None:
        """Name something that is left out."""
        self.rejected.append(Rejection(where, reason, detail))

    def drain(self) -> Ledger:
        """What is written here so far; this ledger is empty afterwards."""
        taken = Ledger(**vars(self))
        vars(self).update(vars(Ledger()))
        return taken

    def add(self, later: Ledger) -> None:
        """Write down behind everything else what another ledger holds."""
        for name, value in vars(later).items():
            mine = getattr(self, name)
            mine.update(value) if isinstance(mine, Counter) else mine.extend(value)

    def reasons(self) -> dict[str, int]:
        """How often each reason was given, the most frequent first."""
        return dict(Counter(rejection.reason for rejection in self.rejected).most_common())


class Source(Protocol):
    """One raw data set, read as training conversations.

    Sources can be pickled: every process of a build gets a copy.
    """

    @property
    def name(self) -> str:
        """Key of the source in `SOURCES` and in the configuration."""
        ...

    @property
    def ledger(self) -> Ledger:
        """Filled while `conversations` is read."""
        ...

    def conversations(self) -> Iterator[Conversation]:
        """All samples, one at a time, always the same ones in the same order.

        Bad records are rejected in the ledger and passed over.

        Raises:
            DataError: nothing of the source is there to read.
        """
        ...


class Shard(NamedTuple):
    """One file of a source that can be read apart from the others."""

    path: str
    data: bytes
    taken: frozenset[str] = frozenset()
    """Ids in this file that an earlier one has, too: here they do not count."""


@runtime_checkable
class ShardedSource(Source, Protocol):
    """A source whose files can be read apart, so that several processes can share the work."""

    def shards(self) -> Iterator[Shard]:
        """All files in order; what is wrong with one stands in the ledger when it comes."""
        ...

    def read_shard(self, shard: Shard) -> Iterator[Conversation]:
        """The samples of one file; all files one after the other give `conversations`."""
        ...


def sample(
    sample_id: str,
    messages: Sequence[Message],
    tools: tuple[ToolSchema, ...],
    *,
    source: str,
    skill: Skill,
    prompt_format: str,
    group: str,
    split: Split | None = None,
    said: Sequence[Said] | None = None,
    slips: Sequence[int] = (),
) -> Conversation:
    """One training sample with the `meta` that every source gives.

    `slips` are the messages, by their number, in which the assistant of a dialogue is wrong.
    """
    meta: dict[str, JsonValue] = {
        "source": source,
        "skill": skill,
        "format": prompt_format,
        "group": group,
    }
    if split is not None:
        meta["split"] = split
    if said is not None:
        meta["said"] = [list(item) for item in said]
    if slips:
        meta["slips"] = list(slips)
    return Conversation(id=sample_id, messages=tuple(messages), tools=tools, meta=meta)


def draw(*parts: object) -> int:
    """A number below 2**64 that depends on `parts` alone, on every machine and in every process."""
    text = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def chance(*parts: object) -> float:
    """Like `draw`, but from 0 up to, and without, 1."""
    return (draw(*parts) >> 11) / (1 << 53)


def shuffled(items: Iterable[_Item], *parts: object) -> list[_Item]:
    """`items` in an order that depends on them and on `parts` alone.

    Choosing the first few and then ordering the choice takes different `parts` for each: with the
    same ones, the chosen would always come out in front.
    """
    return sorted(items, key=lambda item: draw(*parts, item))


def pick(items: Sequence[_Item], *parts: object) -> _Item:
    """One of `items`, chosen by `parts` alone."""
    return items[draw(*parts) % len(items)]
