"""What a benchmark is to the runner: samples, dialogues over them, scores, and figures.

A `Task` knows one benchmark. It says what is asked (`samples`), how the dialogue with the model
goes (`rollout`), how one finished dialogue is scored (`score`) and which figures follow from the
scores of many (`aggregate`). It never sees an engine, a file of results, or an interval.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from coalm.agent.rollout import Rollout
from coalm.types import Conversation


class Sample(BaseModel):
    """One question of a benchmark and its right answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Unique in the benchmark, and the same in every version of it."""
    groups: tuple[str, ...]
    """Parts of the benchmark that it counts in; the first one is where it comes from."""
    conversation: Conversation
    """What the model gets to see; never holds the right answer."""
    target: JsonValue
    """The right answer, for `score` only."""


class Score(BaseModel):
    """What one finished dialogue is worth."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: dict[str, float]
    """Numbers that can be added up over samples; a name that a sample lacks counts as 0 there."""
    verdict: str
    """The kind of result in a word or two, from a small set: `exact`, `wrong function`, ..."""
    explanation: str | None = None
    """What made the verdict, for a reader of this one row."""
    parts: dict[str, bool] = Field(default_factory=dict)
    """Parts of the right answer, such as `function.argument`, to whether they were given."""
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class SampleResult(BaseModel):
    """One row of a run: what was asked, what the model said, and what it is worth."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    groups: tuple[str, ...]
    prompt_hash: str
    """sha256 over all prompts of the dialogue, in order."""
    raw: tuple[str, ...]
    """The model's texts as generated, one per prompt."""
    finish_reasons: tuple[str, ...]
    """Why each text ended: `stop` or `length`."""
    conversation: Conversation | None
    """None when an error ended the dialogue."""
    error: str | None
    """Why there is no conversation or no score; None when all went well."""
    too_long: bool = False
    """The dialogue outgrew the model's context: a failure that no second try mends."""
    score: Score | None
    """None until the row is scored."""
    seconds: float
    prompt_tokens: int
    completion_tokens: int


class Task(Protocol):
    """One benchmark.

    `score` and `aggregate` are given everything they need: an old run is scored and reported
    without a model.
    """

    @property
    def name(self) -> str:
        """Key of the task in `TASKS`."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever prompts, scores or figures change; written into every run."""
        ...

    @property
    def about(self) -> str:
        """What it asks of a model, in one line."""
        ...

    @property
    def groups(self) -> Mapping[str, str]:
        """Every group that is reported if it has samples, in order, with a title."""
        ...

    @property
    def figures(self) -> Mapping[str, str]:
        """Every figure that `aggregate` gives, in order, with what it says."""
        ...

    @property
    def main_figures(self) -> Sequence[str]:
        """The few figures that a picture shows."""
        ...

    @property
    def main_value(self) -> str:
        """Name of the score value by which two runs are compared sample by sample."""
        ...

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts at which the model's turn ends, in addition to those of the configuration."""
        ...

    def provenance(self) -> dict[str, JsonValue]:
        """What determines samples and prompts: format, its version, sha256 of the data files.

        Raises:
            AssetError, DataError: a data file is missing or cannot be read.
        """
        ...

    def samples(self) -> Sequence[Sample]:
        """All samples, always in the same order.

        Raises:
            AssetError, DataError: a data file is missing or cannot be read.
        """
        ...

    def rollout(self, sample: Sample) -> Rollout:
        """The dialogue with the model; `sample.target` takes no part in it."""
        ...

    def score(self, sample: Sample, conversation: Conversation | None) -> Score:
        """Score a finished dialogue; None, a dialogue that failed, is a wrong answer."""
        ...

    def aggregate(self, totals: Mapping[str, float]) -> dict[str, float]:
        """The figures that follow from the sums of all values over a set of samples.

        `totals` holds the number of samples as `samples`. Sums rather than scores are given, so
        that a bootstrap of thousands of resamples costs next to nothing. A figure that these
        samples do not allow is left out.
        """
        ...


def add_up(scores: Sequence[Score]) -> dict[str, float]:
    """Sums of all values, and the number of scores as `samples`: what `Task.aggregate` takes."""
    totals: dict[str, float] = {"samples": float(len(scores))}
    for score in scores:
        for name, value in score.values.items():
            totals[name] = totals.get(name, 0.0) + value
    return totals


class _Part(NamedTuple):
    members: list[int]
    share: float


def subset(samples: Sequence[Sample], limit: int | None, seed: int) -> list[Sample]:
    """At most `limit` samples, drawn by `seed`, each first group in proportion; order is kept.

    Every group that has samples keeps at least one, as long as `limit` allows.
    """
    if limit is None or limit >= len(samples):
        return list(samples)
    members: dict[str, list[int]] = {}
    for at, sample in enumerate(samples):
        members.setdefault(sample.groups[0], []).append(at)
    parts = [_Part(m, limit * len(m) / len(samples)) for m in members.values()]
    counts = [int(part.share) for part in parts]
    # the largest remainders get what rounding down left over; an empty group counts as the largest
    order = sorted(range(len(parts)), key=lambda i: (counts[i] > 0, counts[i] - parts[i].share, i))
    for i in order[: limit - sum(counts)]:
        counts[i] += 1
    draw = random.Random(seed)
    chosen = [
        at for part, n in zip(parts, counts, strict=True) for at in draw.sample(part.members, n)
    ]
    return [samples[at] for at in sorted(chosen)]
