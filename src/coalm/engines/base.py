"""What an engine is: prompts in, raw text out. Only formats interpret the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

from coalm.types import Prompt


class SamplingParams(BaseModel):
    """How to draw the next tokens; the defaults are greedy and reproducible."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: int = Field(default=512, ge=1)
    temperature: float = Field(default=0.0, ge=0.0)
    """0 takes the most likely token at every step."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    stop: tuple[str, ...] = ()
    """Generation ends before the first of these texts; the text itself is not returned."""
    seed: int | None = None
    """Makes sampled output repeatable on one engine; ignored when greedy."""


class Usage(NamedTuple):
    """Tokens that one completion cost."""

    prompt_tokens: int
    completion_tokens: int


class Completion(NamedTuple):
    """What the model said to one prompt."""

    text: str
    """Raw text, special tokens and the stop text left out, nothing stripped."""
    token_ids: tuple[int, ...]
    finish_reason: Literal["stop", "length"]
    """`stop`: the model ended or met a stop text; `length`: `max_new_tokens` or context is full."""
    usage: Usage


class Engine(Protocol):
    """A model that can answer a batch of prompts."""

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        """One completion per prompt, in the order of `prompts`.

        Raises:
            ContextError: a prompt does not fit the context; no prompt is answered then.
            EngineError: the model cannot be reached, or cannot answer for another reason.
        """
        ...

    def close(self) -> None:
        """Free the model; the engine cannot be used afterwards."""
        ...
