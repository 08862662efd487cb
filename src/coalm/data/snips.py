"""SNIPS custom intents (2017-06) as single-turn dialogue states.

A file holds the sentences of one intent, cut into pieces; a piece with `entity` is a slot value::

    {"BookRestaurant": [{"data": [{"text": "book "}, {"text": "The Middle East",
        "entity": "restaurant_name"}, {"text": " for "}, {"text": "noon", "entity": "timeRange"}]}]}

The answer is one call, named by the intent, with slot to value; a slot that occurs twice in the
sentence has a list. By default all intents are on offer every time, in the same order, so that all
samples share one instruction. Upstream: sonos/nlu-benchmark, folder
`2017-06-custom-intent-engines`; the `train_*_full.json` files become train, the `validate_*.json`
files validation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from coalm.data.base import Ledger, Split, sample
from coalm.data.config import SnipsConfig
from coalm.data.files import Copy, RawFile, first_fault, read_rows
from coalm.data.offers import Offers
from coalm.types import Conversation, Message, ToolCall, ToolSchema

_FILES = re.compile(
    r"(?:2017-06-custom-intent-engines/)?(?P<intent>\w+)/(?:train_(?P=intent)_full|validate_(?P=intent))\.json"
)
_EXAMPLE = "2017-06-custom-intent-engines/GetWeather/train_GetWeather_full.json"


class _Piece(BaseModel):
    """A part of a sentence."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    text: str
    entity: str | None = None


class _Row(BaseModel):
    """One sentence."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    data: list[_Piece]


class _Sentence(NamedTuple):
    """One good sentence of a file."""

    place: str
    """Intent, part and row number; becomes the sample's id."""
    where: str
    """File and row, for messages."""
    intent: str
    split: Split
    text: str
    slots: dict[str, list[str]]
    """Slot to all its values, in the order of the sentence."""


class SnipsSource:
    """SNIPS sentences as dialogue states."""

    name = "snips"

    def __init__(self, copy: Copy, config: SnipsConfig, seed: int) -> None:
        """Read `copy`; `seed` chooses further intents, where not all are on offer."""
        self.ledger = Ledger()
        self._offers = Offers(config.distractors, seed)
        self._copy = copy

    def conversations(self) -> Iterator[Conversation]:
        """See `Source.conversations`; train sentences that validation has too are rejected."""
        # 5 MB in all: the slots of all intents must be known before the first sample
        sentences = [
            sentence
            for raw in self._copy.walk(_FILES, _EXAMPLE, self.ledger)
            for sentence in _sentences(raw, self.ledger)
        ]
        tools = _tools(sentences)
        self._offers.add(tools)
        held_out = {_normal(s.text) for s in sentences if s.split == "validation"}
        for sentence in sentences:
            if sentence.split == "train" and _normal(sentence.text) in held_out:
                self.ledger.reject(sentence.where, "sentence is in the validation files too")
                continue
            self.ledger.counts[f"{sentence.split} sentences"] += 1
            own = [tool for tool in tools if tool.name == sentence.intent]
            yield _sample(sentence, self._offers.offer(own, sentence.place))
        self.ledger.missing += _without_counterpart(sentences)


def _sentences(raw: RawFile, ledger: Ledger) -> Iterator[_Sentence]:
    name = raw.path.rpartition("/")[2]
    intent = raw.path.split("/")[-2]
    ledger.counts["files"] += 1
    for number, row in read_rows(raw, ledger, key=intent):
        where = f"{raw.path}: row {number}"
        split: Split = "train" if name.startswith("train_") else "validation"
        place = f"{intent}/{split}/{number:05d}"
        try:
            sentence = _sentence(_Row.model_validate(row), place, where, intent, split)
        except ValidationError as e:
            ledger.reject(where, "not a sentence", first_fault(e))
            continue
        if sentence.text and all(value for values in sentence.slots.values() for value in values):
            yield sentence
        else:
            ledger.reject(where, "empty sentence or slot value", repr(sentence.text))


def _sentence(row: _Row, place: str, where: str, intent: str, split: Split) -> _Sentence:
    slots: dict[str, list[str]] = {}
    for piece in row.data:
        if piece.entity is not None:
            slots.setdefault(piece.entity, []).append(_squeezed(piece.text))
    text = _squeezed("".join(piece.text for piece in row.data))
    return _Sentence(place, where, intent, split, text, slots)


def _squeezed(text: str) -> str:
    """Without outer white space, newlines and double blanks, which only came with the typing."""
    return " ".join(text.split())


def _normal(text: str) -> str:
    return text.casefold()


def _tools(sentences: list[_Sentence]) -> tuple[ToolSchema, ...]:
    """Every intent with the slots that its sentences have, both in alphabetical order."""
    slots: dict[str, dict[str, JsonValue]] = {}
    for sentence in sentences:
        known = slots.setdefault(sentence.intent, {})
        for name, values in sentence.slots.items():
            if len(values) > 1 or name not in known:
                known[name] = _slot_schema(repeated=len(values) > 1)
    return tuple(
        ToolSchema(
            name=intent, parameters={"type": "object", "properties": dict(sorted(known.items()))}
        )
        for intent, known in sorted(slots.items())
    )


def _slot_schema(*, repeated: bool) -> dict[str, JsonValue]:
    if repeated:
        return {"type": ["string", "array"], "items": {"type": "string"}}
    return {"type": "string"}


def _sample(sentence: _Sentence, tools: tuple[ToolSchema, ...]) -> Conversation:
    arguments: dict[str, JsonValue] = {
        slot: values[0] if len(values) == 1 else list(values)
        for slot, values in sentence.slots.items()
    }
    call = ToolCall(name=sentence.intent, arguments=arguments)
    return sample(
        f"snips/{sentence.place}",
        [
            Message(role="user", content=sentence.text),
            Message(role="assistant", tool_calls=(call,)),
        ],
        tools,
        source="snips",
        skill="TOD",
        prompt_format="dst",
        group="snips",
        split=sentence.split,
    )


def _without_counterpart(sentences: list[_Sentence]) -> list[str]:
    """Parts that an intent should have, but does not."""
    found = {(sentence.intent, sentence.split) for sentence in sentences}
    intents = sorted({sentence.intent for sentence in sentences})
    names = {"train": "{0}/train_{0}_full.json", "validation": "{0}/validate_{0}.json"}
    return [
        names[split].format(intent)
        for intent in intents
        for split in names
        if (intent, split) not in found
    ]
