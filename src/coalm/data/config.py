"""What `coalm data build` reads: which sources, how much of each, and where the rows go."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, field_validator, model_validator

from coalm.config import ConfigModel
from coalm.data.offers import Distractors
from coalm.formats.tool_text import ToolText

SourceName = Literal[
    "snips",
    "sgd",
    "sgd_calls",
    "sgd_requests",
    "sgd_states",
    "world",
    "hammer",
    "toolace",
    "sealtools",
    "toolalpaca",
]
Shape = Literal["conversations", "alpaca", "messages", "parquet"]
"""What a row of a file looks like."""
CallFormat = Literal["json_calls", "python_calls", "system_calls"]
Output = Literal["alpaca", "messages", "parquet"]
TeacherMode = Literal["thoughts", "turns"]


class SourceConfig(ConfigModel):
    """What every source has."""

    path: Path | None = None
    """Folder or archive with the raw files; else `root`, else COALM_DATA and the cache."""
    weight: float = Field(default=1.0, gt=0.0)
    """Below 1: the share of the samples that is kept. Above 1: how often each one occurs."""
    thin: Literal["samples", "groups"] = "samples"
    """What `weight` keeps or repeats: any samples, or whole groups (dialogues), whose samples share
    what they begin with, so that training in trees computes it once."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many samples, drawn evenly from all of them."""
    tool_text: ToolText | None = None
    """Takes the place of the data set's `tool_text`."""
    on_violation: Literal["fail", "drop"] = "fail"
    """What to do with samples that violate a criterion of the validation: write no data set, or
    leave them out, counted and named. Sources whose calls a model wrote drop by default."""


_OTHERS = re.compile(r"own(?:\+(\d+)(?:\.\.(\d+))?)?", re.ASCII)


def _distractors(rule: str) -> Distractors | None:
    """What `own`, `own+N` and `own+N..M` say; None for any other text."""
    if (found := _OTHERS.fullmatch(rule)) is None:
        return None
    fewest = int(found[1] or 0)
    return Distractors(fewest, int(found[2] or fewest))


class OfferConfig(SourceConfig):
    """A source with functions on offer."""

    tools: str = "own"
    """Functions on offer: `own` (those that belong to the sample), `own+N` (and N others that do
    another job), `own+N..M` (from N to M others, drawn for each sample) or `all` (every function of
    the source)."""

    @field_validator("tools")
    @classmethod
    def _known_rule(cls, value: str) -> str:
        others = _distractors(value)
        if value == "all" or (others and others.fewest <= others.most):
            return value
        raise ValueError(f"expected own, own+N, own+N..M (N at most M) or all, got {value!r}")

    @property
    def distractors(self) -> Distractors | None:
        """How many functions of other samples are offered; None for all of them."""
        return _distractors(self.tools)


class SnipsConfig(OfferConfig):
    """SNIPS sentences: single-turn dialogue states."""

    tools: str = "all"
    """Intents on offer; a sentence's own is the one it has."""


class ThoughtsConfig(ConfigModel):
    """A source whose thoughts coalm writes."""

    thoughts: Literal["varied", "plain"] = "varied"
    """`varied`: several wordings for each situation. `plain`: one, and what is known comes before
    what follows from it, which a small model learns from fewer samples."""


class SgdFilesConfig(OfferConfig):
    """What the two readers of Schema-Guided Dialogue share."""

    services: Literal["all", "one"] = "all"
    """All dialogues, or only those that need one service."""
    split: Literal["train", "dev", "test"] = "train"
    """Which part of SGD; our own validation split is cut from it by dialogue."""
    schema_variant: Literal["original", "v1", "v2", "v3", "v4", "v5"] = "original"
    """Names and descriptions of services, slots and functions: SGD's or one of SGD-X's five
    paraphrases. What is said stays the same."""
    tools: str = "own+2"
    """Functions on offer; a dialogue's own are all of its services."""


class SgdConfig(SgdFilesConfig, ThoughtsConfig):
    """SGD dialogues as ReAct turns."""

    samples: Literal["natural", "two_a_turn"] = "natural"
    """`natural`: one sample for every time that the model writes, two on a turn with a call.
    `two_a_turn`: also two on a turn without one, as in the paper: first thought and reply, then the
    reply alone; whenever a reply is asked for alone, its thought is in the prompt."""
    result_rows: int | None = Field(default=3, ge=1)
    """Longer result lists are cut to this many rows where no later turn speaks of the rest; null
    never cuts."""


class SgdCallsConfig(SgdFilesConfig):
    """SGD calls as function calls in JSON."""

    no_call: float = Field(default=0.2, ge=0.0, le=1.0)
    """Share of the turns that plainly need no call that become samples with an empty list."""


class SgdRequestsConfig(SgdFilesConfig):
    """SGD's requests that say all they need, as single function calls."""

    offers: int = Field(default=4, ge=1)
    """How many offers every service has. Requests with the same one begin alike, so that training
    in trees computes that once."""
    formats: tuple[CallFormat, ...] = Field(default=("json_calls",), min_length=1)
    """How calls are written; each offer is drawn one of these."""
    value_formats: bool = False
    """Whether descriptions say how most dates and towns are to be written, one way or another
    (`MM/DD/YYYY`; `City, State`), and the values are so."""
    paired: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the requests that are put into one message with the next one of their offer."""
    no_call: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the requests that are offered functions for other jobs; a few words of farewell,
    for which there is no function either, come with them."""


class SgdStatesConfig(SgdFilesConfig):
    """SGD's states after every turn of the user; `tools` counts domains here."""


class WorldConfig(OfferConfig, ThoughtsConfig):
    """Dialogues of the mini world, played anew."""

    tools: str = "all"
    """Functions on offer; `all`, in their order, is what a chat with the mini world offers."""
    worlds: tuple[int, ...] = Field(default=(1, 2, 3, 4), min_length=1)
    """Seeds of the worlds to play in, each with places, trains and bookings of its own; a chat
    takes place in the world of seed 0."""
    dialogues: int = Field(default=100, ge=1)
    """In each of these worlds."""
    replies: Literal["varied", "plain"] = "varied"
    """`plain`: the assistant asks for one thing at a time, only for what is required, and says
    everything in one way, so that a small model has fewer words to learn."""
    services: tuple[int, ...] = Field(default=(1, 1, 1, 2, 2, 3), min_length=1)
    """How many services a user wants; one of these."""
    about: tuple[str, ...] = ()
    """What to draw from: services (`Dining_1`), or functions that users ask for first
    (`BookTable`). One named twice is drawn twice as often. Default: every service once."""
    brisk: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the users who say at once all that there is to say about a wish."""
    slips: float = Field(default=0.0, ge=0.0, le=1.0)
    """How often the assistant first does something else than what it is asked for (a wrong value,
    another function, a question for what it knows, an offer or a search once more) and is told so.
    No sample learns that turn; those after it show it."""
    openings: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the dialogues of which only those samples are taken in which the user has just
    asked for something: there a function is chosen, and most of them are short."""


class HammerConfig(OfferConfig):
    """xLAM and irrelevance rows as function calls in JSON, with function masking."""

    on_violation: Literal["fail", "drop"] = "drop"
    mode: Literal["clean", "compatible"] = "clean"
    """`compatible` masks exactly as Hammer's published script does, its random numbers and its
    false values included; `clean` masks names the same way, but changes nothing that was right."""
    passes: int = Field(default=3, ge=1)
    """How often every row occurs, each time masked anew; 3 in Hammer."""
    masked: float = Field(default=2 / 3, ge=0.0, le=1.0)
    """Share of the rows that are masked; 2/3 in Hammer."""

    @model_validator(mode="after")
    def _published(self) -> HammerConfig:
        if self.mode == "compatible" and (self.passes, self.masked, self.tools) != _PUBLISHED:
            raise ValueError(
                "mode compatible has Hammer's own passes (3), masked (2/3) and tools (own); "
                "leave them out, or use mode clean"
            )
        return self


_PUBLISHED = (3, 2 / 3, "own")


class ToolAceConfig(OfferConfig):
    """ToolACE conversations as calls in Python notation."""

    on_violation: Literal["fail", "drop"] = "drop"


class SealToolsConfig(OfferConfig):
    """Seal-Tools requests as function calls in JSON."""

    on_violation: Literal["fail", "drop"] = "drop"
    tools: str = "own+3"
    """Functions on offer; a request's own are those that its calls need. The others are from other
    corners of the same field."""
    parts: tuple[Literal["train", "dev", "test_in_domain", "test_out_domain"], ...] = (
        "train",
        "dev",
    )
    """Files to read. The tests are for who does not evaluate on Seal-Tools."""
    formats: tuple[CallFormat, ...] = Field(default=("json_calls",), min_length=1)
    """How calls are written; each request is drawn one of these."""
    no_call: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the requests that are offered others in place of the functions that they need."""


class ToolAlpacaConfig(OfferConfig):
    """ToolAlpaca requests as function calls in JSON."""

    on_violation: Literal["fail", "drop"] = "drop"
    parts: tuple[Literal["train", "eval_simulated", "eval_real"], ...] = ("train",)
    """Files to read. The evaluation parts are for who does not evaluate on ToolAlpaca."""


class TeacherConfig(SourceConfig):
    """A model that rewrites a finished build, for `coalm data teach`.

    `path` is the build to read (else `output_dir` of the file), `limit` how many of its samples are
    taken.
    """

    output_dir: Path
    """Folder that gets the new data set."""
    infer: Path
    """Inference file of the teacher model."""
    mode: TeacherMode = "thoughts"
    """What it writes: the thought before each step of the data, or the whole step anew."""
    instructions: Path | None = None
    """File with an instruction text in place of ours; it has the places {tools}, {dialogue} and
    {step}."""
    cache: Path | None = None
    """File that keeps all answers; null is `teacher_cache.jsonl` in the teacher's `output_dir`."""
    drop_unanswered: bool = False
    """Leave samples out whose question got no answer after all attempts, instead of stopping."""


class DataConfig(ConfigModel):
    """One data set: sources, split and place."""

    output_dir: Path
    """Folder that gets the rows and the manifest; a former build in it is replaced."""
    outputs: tuple[Output, ...] = ("alpaca",)
    """Shapes to write beside the conversations, which are always written: `alpaca` rows,
    OpenAI-style `messages` with tools, and `parquet` with both."""
    workers: int | None = Field(default=None, ge=1)
    """Processes that share the work; null takes one per core. The rows do not depend on it."""
    sources: tuple[SourceName, ...]
    """Which sources to build from; their settings stand in the sections below."""
    optional: tuple[SourceName, ...] = ()
    """Those of the sources that may lack their files: then they are left out, and it is said."""
    root: Path | None = None
    """Folder with `snips/`, `sgd/`, ... to read instead of COALM_DATA and the cache."""
    seed: int = 7
    """Decides split, order, thinning and distractors, nothing else."""
    validation_share: float = Field(default=0.01, ge=0.0, lt=1.0)
    """Share of the groups (dialogues) held out, where a source has no validation part itself."""
    max_characters: int | None = Field(default=None, ge=1)
    """Samples whose prompt and reply are longer together are left out before limits are drawn."""
    on_violation: Literal["fail", "drop"] | None = None
    """Takes the place of every source's own `on_violation`."""
    tool_text: ToolText = "full"
    """How prompts show the functions on offer: with types and meaning (`full`), as `signatures`
    without these (JSON lists stay full), or by `names` alone. Dialogue states list the slots."""
    instructions: dict[str, Path] = Field(default_factory=dict)
    """Format name to a file with an instruction text that replaces ours in the Alpaca rows."""

    snips: SnipsConfig = SnipsConfig()
    sgd: SgdConfig = SgdConfig()
    sgd_calls: SgdCallsConfig = SgdCallsConfig()
    sgd_requests: SgdRequestsConfig = SgdRequestsConfig()
    sgd_states: SgdStatesConfig = SgdStatesConfig()
    world: WorldConfig = WorldConfig()
    hammer: HammerConfig = HammerConfig()
    toolace: ToolAceConfig = ToolAceConfig()
    sealtools: SealToolsConfig = SealToolsConfig()
    toolalpaca: ToolAlpacaConfig = ToolAlpacaConfig()
    teacher: TeacherConfig | None = None
    """Who writes the thoughts anew, if anybody does."""

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
