"""What `coalm data build` reads: which sources, how much of each, and where the rows go."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, field_validator

from coalm.config import ConfigModel

SourceName = Literal["snips", "sgd", "sgd_calls", "sealtools"]


class SourceConfig(ConfigModel):
    """What every source has."""

    path: Path | None = None
    """Folder or archive with the raw files; else `root`, else COALM_DATA and the cache."""
    weight: float = Field(default=1.0, gt=0.0)
    """Below 1: the share of the samples that is kept. Above 1: how often each one occurs."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many samples, drawn evenly from all of them."""


class SnipsConfig(SourceConfig):
    """SNIPS sentences: single-turn dialogue states."""


class SgdFilesConfig(SourceConfig):
    """What the two readers of Schema-Guided Dialogue share."""

    split: Literal["train", "dev", "test"] = "train"
    """Which part of SGD; our own validation split is cut from it by dialogue."""
    tools: str = "own+2"
    """Functions on offer: `own` (all of the dialogue's services), `own+N` (and N of others) or
    `all` (every one in the part's schema file)."""

    @field_validator("tools")
    @classmethod
    def _known_rule(cls, value: str) -> str:
        head, _, number = value.partition("+")
        if value in ("own", "all") or (head == "own" and number.isdecimal()):
            return value
        raise ValueError(f"expected own, own+N or all, got {value!r}")

    @property
    def distractors(self) -> int | None:
        """How many functions of other services are offered; None for all of them."""
        return None if self.tools == "all" else int(self.tools.partition("+")[2] or 0)


class SgdConfig(SgdFilesConfig):
    """SGD dialogues as ReAct turns."""

    result_rows: int | None = Field(default=3, ge=1)
    """Longer result lists are cut to this many rows where no later turn speaks of the rest; null
    never cuts."""


class SgdCallsConfig(SgdFilesConfig):
    """SGD calls as function calls in JSON."""

    no_call: float = Field(default=0.2, ge=0.0, le=1.0)
    """Share of the turns that plainly need no call that become samples with an empty list."""


class SealToolsConfig(SourceConfig):
    """Seal-Tools requests as function calls in JSON."""

    distractors: int = Field(default=3, ge=0)
    """Further functions on offer, from other corners of the same field."""


class DataConfig(ConfigModel):
    """One data set: sources, split and place."""

    output_dir: Path
    """Folder that gets the rows and the manifest; a former build in it is replaced."""
    sources: tuple[SourceName, ...]
    """Which sources to build from; their settings stand in the sections below."""
    root: Path | None = None
    """Folder with `snips/`, `sgd/`, ... to read instead of COALM_DATA and the cache."""
    seed: int = 7
    """Decides split, order, thinning and distractors, nothing else."""
    validation_share: float = Field(default=0.01, ge=0.0, lt=1.0)
    """Share of the groups (dialogues) held out, where a source has no validation part itself."""
    max_characters: int | None = Field(default=None, ge=1)
    """Samples whose prompt and reply are longer together are left out before limits are drawn."""
    on_violation: Literal["fail", "drop"] = "fail"
    """What to do with samples that violate a criterion of the validation: write no data set, or
    leave them out, counted and named."""
    instructions: dict[str, Path] = Field(default_factory=dict)
    """Format name to a file with an instruction text that replaces ours in the Alpaca rows."""

    snips: SnipsConfig = SnipsConfig()
    sgd: SgdConfig = SgdConfig()
    sgd_calls: SgdCallsConfig = SgdCallsConfig()
    sealtools: SealToolsConfig = SealToolsConfig()

    @field_validator("sources")
    @classmethod
    def _each_once(cls, value: tuple[SourceName, ...]) -> tuple[SourceName, ...]:
        if not value:
            raise ValueError(f"expected at least one of {', '.join(get_args(SourceName))}")
        for name in value:
            if value.count(name) > 1:
                raise ValueError(f"{name} is named twice; use its `weight` for more of it")
        return value

    def settings(self, name: str) -> SourceConfig:
        """The section of one source."""
        return getattr(self, name)
