"""Which functions a sample offers: its own, some others, or all of its source."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from coalm.data.base import draw, shuffled
from coalm.types import Message, ToolSchema

_NOTHING_FITS = "None of the functions on offer can do this."
_TRIES = 50
"""Draws for each distractor; a source whose functions all do the same job runs out of others."""


class Distractors(NamedTuple):
    """How many others are on offer beside a sample's own functions."""

    fewest: int
    most: int

    def drawn(self, seed: int, sample: str) -> int:
        """The number of one sample, any from `fewest` to `most`."""
        return self.fewest + draw(seed, "how many", sample) % (self.most - self.fewest + 1)


def refusal(prompt_format: str) -> Message:
    """The answer where no function on offer fits; calls in JSON have an empty list for it."""
    return Message(role="assistant", content="" if prompt_format == "json_calls" else _NOTHING_FITS)


class Offers:
    """All functions of a source, and the choice among them."""

    def __init__(self, distractors: Distractors | None, seed: int) -> None:
        """Offer a sample's own functions and `distractors` others; None offers everything."""
        self._distractors = distractors
        self._seed = seed
        self._schemas: dict[str, ToolSchema] = {}
        self._names: list[str] = []

    @property
    def wants_others(self) -> bool:
        """Whether the functions of all samples have to be known before the first is offered."""
        return self._distractors is None or self._distractors.most > 0

    def add(self, schemas: Sequence[ToolSchema]) -> None:
        """Make functions known; of those with the same name the first one stays."""
        for schema in schemas:
            if schema.name not in self._schemas:
                self._schemas[schema.name] = schema
                self._names.append(schema.name)

    def offer(self, own: Sequence[ToolSchema], sample: str) -> tuple[ToolSchema, ...]:
        """The functions on offer in a sample, in an order that says nothing about the answer.

        A distractor never has the name of an own function, nor its subject: beside `get_weather`,
        `weather_forecast` would be a second right answer.
        """
        if self._distractors is None:
            return tuple({**self._schemas, **{schema.name: schema for schema in own}}.values())
        others = self._distractors.drawn(self._seed, sample)
        if others == 0:
            return tuple(own)
        chosen = {schema.name: schema for schema in own}
        taken = set[str]().union(*(_subject(name) for name in chosen))
        rng = random.Random(draw(self._seed, "distractors", sample))
        wanted = len(chosen) + others
        for _ in range(_TRIES * others):
            name = self._names[rng.randrange(len(self._names))]
            if name not in chosen and not taken & _subject(name):
                chosen[name] = self._schemas[name]
            if len(chosen) == wanted:
                break
        return tuple(chosen[name] for name in shuffled(chosen, self._seed, "offer", sample))


def _subject(name: str) -> set[str]:
    """The words of a name; without the first, mostly a verb, where there are several."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    words = [word.lower() for word in re.findall(r"[^\W_]+", spaced)]
    return set(words[1:] or words)
