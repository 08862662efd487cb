"""The BFCL V3 task: function calls, one turn or many, with the official verdicts.

Two styles of the question:

- `prompt`: the official text for models without a function-calling mode, the way in which CoALM's
  published scores were made; the reply is `[function(parameter=value)]`;
- `calls`: the functions as JSON Schema in one of coalm's own prompt formats.

In the multi-turn categories the model's calls are run on simulated back ends and the results go
back to it, until it calls nothing more or has been asked too often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, JsonValue, field_validator

from coalm import assets
from coalm.agent.rollout import Rollout
from coalm.config import ConfigModel
from coalm.errors import EvalError, ParseError
from coalm.evals.base import Sample, Score
from coalm.evals.bfcl.categories import CATEGORIES, PARTS
from coalm.evals.bfcl.data import ASSET, KNOWN_FAULTS, WHEEL, Entry, load_category
from coalm.evals.bfcl.decode import decode, decode_fc
from coalm.evals.bfcl.dialogue import Dialogues
from coalm.evals.bfcl.exec_check import is_offline, judge_exec
from coalm.evals.bfcl.exec_proxy import judge_by_proxy
from coalm.evals.bfcl.figures import FIGURES, MAIN_FIGURES, figures, values
from coalm.evals.bfcl.quirks import SCORINGS, Scoring
from coalm.evals.bfcl.single_turn import judge_reply
from coalm.evals.bfcl.state_check import judge_dialogue, read_calls
from coalm.evals.bfcl.verdict import Verdict
from coalm.formats import get_format
from coalm.formats.text import well_formed
from coalm.types import Conversation

_TITLES = {
    "all": "Everything that was asked",
    "non_live": "Non-live: written questions",
    "live": "Live: questions of real users",
    "multi_turn": "Multi-turn: dialogues with back ends",
    "exec": "Executable: retired in April 2025, partly guessed here",
}


class BfclConfig(ConfigModel):
    """What of BFCL V3 to run, and in which style."""

    scoring_only: ClassVar[tuple[str, ...]] = ("scoring",)

    categories: tuple[str, ...] = Field(default=("non_live", "live", "multi_turn"), min_length=1)
    """Categories, or the parts `non_live`, `live`, `multi_turn` and `exec`."""
    style: Literal["prompt", "calls"] = "prompt"
    """`prompt`: the official text of prompt models; `calls`: one of coalm's own formats."""
    format: Literal["json_calls", "python_calls", "system_calls", "react"] = "json_calls"
    """The prompt format of the style `calls`."""
    instructions: Path | None = None
    """Instruction text for the style `calls`, in place of coalm's own."""
    scoring: Scoring = "compat"
    """`compat`: the official verdicts, habits included; `strict`: without them."""

    @field_validator("categories")
    @classmethod
    def _known(cls, categories: tuple[str, ...]) -> tuple[str, ...]:
        known = [*PARTS, *CATEGORIES]
        if strangers := [name for name in categories if name not in known]:
            raise ValueError(f"no category {strangers[0]!r}; there are: {', '.join(known)}")
        return categories


class Bfcl:
    """BFCL V3 as a `Task` (see the module)."""

    name = "bfcl"
    version = "1"
    about = "BFCL V3: function calls in one turn and in many, official verdicts (4,441 samples)"
    groups: Mapping[str, str] = {**_TITLES, **{name: f"Category {name}" for name in CATEGORIES}}
    figures: Mapping[str, str] = FIGURES
    main_value = "right"
    stop: tuple[str, ...] = ()

    def __init__(self, config: BfclConfig, *, guided: bool = False) -> None:
        self._config = config
        if guided and config.style == "prompt":
            raise EvalError("bfcl: the official prompts leave answers free; set bfcl.style: calls")
        guesses = any(CATEGORIES[name].retired for name in self._categories)
        self.main_figures: Sequence[str] = MAIN_FIGURES if guesses else MAIN_FIGURES[:-1]
        calling = config.style == "calls"
        self.dialogues = Dialogues(
            get_format(config.format, config.instructions, guided=guided) if calling else None
        )

    def provenance(self) -> dict[str, JsonValue]:
        """See `Task.provenance`."""
        used = self.dialogues.format
        return {
            "format": used.name if used else "bfcl",
            "format_version": used.version if used else "1",
            "data": {WHEEL: assets.get(ASSET).origin(WHEEL).files[WHEEL]},
        }

    def samples(self) -> list[Sample]:
        """See `Task.samples`."""
        return [self._sample(name, entry) for name, entry in self.entries.items()]

    def rollout(self, sample: Sample) -> Rollout:
        """See `Task.rollout`."""
        return self.dialogues.rollout(self.entries[sample.id], sample.conversation)

    def score(self, sample: Sample, conversation: Conversation | None) -> Score:
        """See `Task.score`."""
        entry = self.entries[sample.id]
        verdict = self._judge(entry, conversation)
        explanation = None if verdict.explanation is None else well_formed(verdict.explanation)
        offline = is_offline(entry)
        guessed = entry.category.retired and not offline
        return Score(
            values=values(entry.category, verdict.valid, guessed=guessed, offline=offline),
            verdict=verdict.error_type or ("right (guessed)" if guessed else "right"),
            explanation=explanation,
            metadata={
                "decoded": self._decoded(entry, conversation),
                "fault": KNOWN_FAULTS.get(entry.id),
                "guessed": guessed,
            },
        )

    def aggregate(self, totals: Mapping[str, float]) -> dict[str, float]:
        """See `Task.aggregate`; everything is in percent."""
        return figures(totals)

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Sample id to entry; the official ids, but that one comes twice."""
        found: dict[str, Entry] = {}
        for name in self._categories:
            for entry in load_category(name):
                found[f"{entry.id}#2" if entry.id in found else entry.id] = entry
        return found

    @property
    def _categories(self) -> list[str]:
        """The categories that are asked, in the official order."""
        wanted = {name for part in self._config.categories for name in PARTS.get(part, (part,))}
        return [name for name in CATEGORIES if name in wanted]

    def _sample(self, name: str, entry: Entry) -> Sample:
        return Sample(
            id=name,
            groups=(entry.category.name, entry.category.part, "all"),
            conversation=self.dialogues.question(entry, name),
            target=entry.answer,
        )

    def _judge(self, entry: Entry, conversation: Conversation | None) -> Verdict:
        if conversation is None:
            return Verdict("inference_error", "the dialogue failed")
        reply = self.dialogues.result(entry, conversation)
        calling, quirks = self.dialogues.calling, SCORINGS[self._config.scoring]
        if entry.category.scoring == "multi_turn":
            return judge_dialogue(entry, reply, function_calling=calling, quirks=quirks)
        if is_offline(entry):
            return judge_exec(entry, reply, function_calling=calling, quirks=quirks)
        if entry.category.retired:
            return judge_by_proxy(entry, reply, function_calling=calling)
        return judge_reply(
            entry, reply, function_calling=calling, underscores=calling, quirks=quirks
        )

    def _decoded(self, entry: Entry, conversation: Conversation | None) -> JsonValue:
        """What the replies decode to, for a reader; None where one does not decode."""
        if conversation is None:
            return None
        result = self.dialogues.result(entry, conversation)
        calling = self.dialogues.calling
        if entry.category.scoring != "multi_turn":
            return self._shown(entry, result)
        turns = result if isinstance(result, list) else []
        return [
            [
                [well_formed(call) for call in read_calls(step, function_calling=calling)]
                for step in (turn if isinstance(turn, list) else [])
            ]
            for turn in turns
        ]

    def _shown(self, entry: Entry, reply: JsonValue) -> str | None:
        quirks = SCORINGS[self._config.scoring]
        try:
            if self.dialogues.calling:
                return well_formed(repr(decode_fc(reply)))
            return well_formed(repr(decode(str(reply), entry.category.language, quirks)))
        except ParseError:
            return None
