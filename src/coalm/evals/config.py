"""Configuration of an evaluation: a benchmark, a part of it, a model, and where results go.

::

    task: apibank
    limit: 100
    model:
      model_name: HuggingFaceTB/SmolLM2-135M-Instruct
    generation:
      max_new_tokens: 512
    output_dir: runs/apibank

Model, generation and engine are those of an inference file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field

from coalm.engines.config import GenerationConfig, InferConfig
from coalm.evals.apibank.task import ApiBankConfig
from coalm.evals.bfcl.task import BfclConfig
from coalm.evals.heldout import HeldOutConfig
from coalm.evals.multiwoz.task import MultiWozConfig
from coalm.evals.world.task import WorldConfig

TaskName: TypeAlias = Literal["apibank", "bfcl", "heldout", "multiwoz", "world"]


class AnswerConfig(GenerationConfig):
    """How to draw the tokens of an answer; shorter than in a chat."""

    max_new_tokens: int = Field(default=512, ge=1)
    """The answer ends here at the latest; published API-Bank scores allow 512."""


class EvalConfig(InferConfig):
    """A whole evaluation file."""

    task: TaskName = "apibank"
    """The benchmark; its section of the same name says more."""
    apibank: ApiBankConfig = ApiBankConfig()
    bfcl: BfclConfig = BfclConfig()
    heldout: HeldOutConfig = HeldOutConfig()
    multiwoz: MultiWozConfig = MultiWozConfig()
    world: WorldConfig = WorldConfig()
    limit: int | None = Field(default=None, ge=1)
    """At most this many samples, drawn from all parts of the benchmark in proportion."""
    seed: int = 0
    """Decides which samples a limit takes."""
    output_dir: Path
    """Folder of this run; an unfinished run of the same configuration goes on there."""
    # configurations are frozen, so the narrower type is sound
    generation: AnswerConfig = AnswerConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
