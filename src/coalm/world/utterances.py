"""Single requests with marked slots, in the layout of the SNIPS files.

A row: `{"data": [{"text": "remind "}, {"text": "me", "entity": "person"}, {"text": " to "}, ...]}`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import cast

from pydantic import JsonValue

from coalm.world.package_files import read_yaml
from coalm.world.schema import Slot
from coalm.world.wording import Phrase, fill, slots_in


def intents() -> tuple[str, ...]:
    """The names of the intents."""
    return tuple(read_yaml("utterances.yaml"))


def utterances(intent: str, rng: random.Random) -> Iterator[dict[str, JsonValue]]:
    """Ever new rows of the intent, no sentence twice; ends when new ones are hard to find."""
    spec = cast("dict[str, dict[str, list[str]] | list[str]]", read_yaml("utterances.yaml")[intent])
    values = cast("dict[str, list[str]]", spec["slots"])
    wordings = cast("list[str]", spec["wordings"])
    slots = {slot: Slot(description=slot) for slot in values}
    seen: set[str] = set()
    for _ in range(_PATIENCE):
        wording = rng.choice(wordings)
        chosen = {slot: rng.choice(values[slot]) for slot in sorted(slots_in(wording))}
        phrase = fill(wording, slots, chosen, rng, "user")
        phrase = phrase.lower() if rng.random() < _SMALL else phrase
        if phrase.text.lower() not in seen:
            seen.add(phrase.text.lower())
            yield {"data": _pieces(phrase)}


_PATIENCE = 100_000
_SMALL = 0.6
"""Share of requests without capitals: most people type to a machine like that."""


def _pieces(phrase: Phrase) -> list[JsonValue]:
    pieces: list[JsonValue] = []
    at = 0
    for mention in phrase.mentions:
        if mention.start > at:
            pieces.append({"text": phrase.text[at : mention.start]})
        pieces.append({"text": phrase.form(mention), "entity": mention.slot})
        at = mention.end
    if at < len(phrase.text):
        pieces.append({"text": phrase.text[at:]})
    return pieces
