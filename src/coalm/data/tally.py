"""Counts of samples by kind."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict


class Kind(NamedTuple):
    """Samples that are counted together."""

    split: str
    source: str
    skill: str
    format: str


class Rows(BaseModel):
    """How many samples of one kind there are, and how long they are together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: str
    source: str
    skill: str
    format: str
    samples: int
    prompt_characters: int
    reply_characters: int
    tokens: int | None = None
    """Prompts and replies together; None where nobody counted."""


class Tally:
    """Adds up samples."""

    def __init__(self) -> None:
        self._samples: Counter[Kind] = Counter()
        self._prompt: Counter[Kind] = Counter()
        self._reply: Counter[Kind] = Counter()
        self._tokens: Counter[Kind] = Counter()

    def add(self, kind: Kind, prompt: int, reply: int, tokens: int | None = None) -> None:
        """Count one sample with the characters of its prompt and its reply."""
        self._samples[kind] += 1
        self._prompt[kind] += prompt
        self._reply[kind] += reply
        if tokens is not None:
            self._tokens[kind] += tokens

    def rows(self) -> list[Rows]:
        """The figures of every kind, sorted."""
        return [
            Rows(
                **kind._asdict(),
                samples=self._samples[kind],
                prompt_characters=self._prompt[kind],
                reply_characters=self._reply[kind],
                tokens=self._tokens.get(kind),
            )
            for kind in sorted(self._samples)
        ]
