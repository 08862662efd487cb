"""The API-Bank task: the next API call after a dialogue, levels 1 and 2.

Two forms of the question, one label (a fenced JSON list of one call):

- `hammer`: the text that published scores were made with, as one user turn;
- `original`: dialogue and tools in coalm's own `json_calls` format, the one its models learn.

The answer is scored as generated. Text likeness rewards layout as much as the right call: a right
call without its fence loses 8 points of BLEU, an empty list still earns 30 points of ROUGE-L. The
figures on calls say what was asked for, whatever the layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from coalm.agent.rollout import Rollout
from coalm.config import ConfigModel
from coalm.errors import EvalError
from coalm.evals.apibank.data import (
    Form,
    Level,
    LevelData,
    Row,
    gold_calls,
    load_level,
    to_conversation,
)
from coalm.evals.apibank.score import (
    Counters,
    Crash,
    fair_counters,
    hammer_counters,
    hammer_figures,
)
from coalm.evals.base import Sample, Score
from coalm.evals.calls import compare_calls
from coalm.evals.metrics import text_likeness
from coalm.formats import get_format
from coalm.formats.text import well_formed
from coalm.types import ChatTurn, Conversation, Message, Prompt, ToolCall

_LEVELS: tuple[Level, ...] = (1, 2)
_GROUPS = {
    "l1": "Level 1: call an API that is given",
    "l1-clean": "Level 1 without the rows that have known faults",
    "l2": "Level 2: find the API, then call it",
    "l2-clean": "Level 2 without the rows that have known faults",
}
_LIKENESS = {
    "rouge-l": "ROUGE-L as LLaMA-Factory computes it",
    "rouge-1": "ROUGE-1 as LLaMA-Factory computes it",
    "rouge-2": "ROUGE-2 as LLaMA-Factory computes it",
    "bleu-4": "BLEU-4 as LLaMA-Factory computes it",
}
_FIGURES = {
    **_LIKENESS,
    "exact call": "answers that are exactly the right call, in any layout",
    "right function": "answers that call the right function and no other",
    "right arguments": "arguments of the labels that were given with the right value",
    "f1 api": "F1 of the functions called, answers in the label's layout only",
    "f1 param": "F1 of the arguments given, answers in the label's layout only",
    "hammer f1 api": "F1 of the functions called, with the quirks of Hammer's script",
    "hammer f1 param": "F1 of the arguments given, with the quirks of Hammer's script",
    "hammer crash": "answers at which Hammer's script stops; counted as one wrong call here",
}


class ApiBankConfig(ConfigModel):
    """What of API-Bank to run, and in which form."""

    levels: tuple[Level, ...] = Field(default=_LEVELS, min_length=1)
    """Level 1 has 399 samples, level 2 has 127."""
    form: Form = "hammer"
    """`hammer`: the published prompt text; `original`: coalm's `json_calls` format."""
    instructions: Path | None = None
    """Instruction text for the `original` form, in place of coalm's own."""
    data_dir: Path | None = None
    """Rows of your own, in the layout of the asset `apibank`; None takes the asset."""


class ApiBank:
    """API-Bank as a `Task` (see the module)."""

    name = "apibank"
    version = "1"
    about = "the next API call after a dialogue, levels 1 and 2 (526 samples)"
    groups: Mapping[str, str] = _GROUPS
    figures: Mapping[str, str] = _FIGURES
    main_figures: Sequence[str] = ("rouge-l", "bleu-4", "f1 param", "exact call")
    main_value = "exact call"
    stop: tuple[str, ...] = ()

    def __init__(self, config: ApiBankConfig, *, guided: bool = False) -> None:
        self._config = config
        if guided and config.form == "hammer":
            raise EvalError("apibank: Hammer's prompts leave answers free; set form: original")
        self._format = get_format("json_calls", config.instructions, guided=guided)

    def provenance(self) -> dict[str, JsonValue]:
        """See `Task.provenance`."""
        hammer = self._config.form == "hammer"
        checksums = {path: text for level in self._levels for path, text in level.checksums.items()}
        return {
            "format": "hammer" if hammer else self._format.name,
            "format_version": "1" if hammer else self._format.version,
            "data": dict(checksums),
        }

    def samples(self) -> list[Sample]:
        """See `Task.samples`."""
        return [self._sample(row) for level in self._levels for row in level.rows]

    def rollout(self, sample: Sample) -> Rollout:
        """See `Task.rollout`: one question, one answer, kept as generated."""
        completion = yield self._prompt(sample.conversation)
        text = well_formed(completion.text)
        return sample.conversation.extended(Message(role="assistant", content=text))

    def score(self, sample: Sample, conversation: Conversation | None) -> Score:
        """See `Task.score`."""
        answer = _answer(conversation)
        target = _Target.model_validate(sample.target)
        likeness = text_likeness(answer, target.label)
        compared = compare_calls(self._format.parse(answer), target.calls)
        hammer = hammer_counters(answer, target.label)
        fair = fair_counters(answer, target.calls)
        crash = hammer.error if isinstance(hammer, Crash) else None
        if isinstance(hammer, Crash):
            hammer = fair._replace(predict_api=1, correct_api=0, predict_param=0, correct_param=0)
        return Score(
            values={
                "rouge-l": likeness.rouge_l,
                "rouge-1": likeness.rouge_1,
                "rouge-2": likeness.rouge_2,
                "bleu-4": likeness.bleu_4,
                "exact call": float(compared.verdict == "exact"),
                "right function": float(compared.right_function),
                "right arguments": float(sum(compared.arguments.values())),
                "gold arguments": float(len(compared.arguments)),
                "hammer crash": float(crash is not None),
                **_named("fair", fair),
                **_named("hammer", hammer),
            },
            verdict=compared.verdict,
            explanation=compared.explanation,
            parts=compared.arguments,
            metadata={"faults": list(target.faults), "hammer_crash": crash},
        )

    def aggregate(self, totals: Mapping[str, float]) -> dict[str, float]:
        """See `Task.aggregate`; everything is in percent."""
        samples = totals["samples"]
        fair, hammer = (hammer_figures(_counters(kind, totals)) for kind in ("fair", "hammer"))
        gold_arguments = totals["gold arguments"]
        found = {name: totals[name] / samples for name in _LIKENESS}
        found |= {
            name: 100 * totals[name] / samples
            for name in ("exact call", "right function", "hammer crash")
        }
        found |= {
            "right arguments": 100 * totals["right arguments"] / max(gold_arguments, 1),
            "f1 api": 100 * fair.get("F1_api", 0.0),
            "f1 param": 100 * fair.get("F1_param", 0.0),
            "hammer f1 api": 100 * hammer.get("F1_api", 0.0),
            "hammer f1 param": 100 * hammer.get("F1_param", 0.0),
        }
        return {name: found[name] for name in _FIGURES}

    @cached_property
    def _levels(self) -> list[LevelData]:
        return [
            load_level(level, self._config.data_dir)
            for level in _LEVELS
            if level in self._config.levels
        ]

    def _sample(self, row: Row) -> Sample:
        target = _Target(label=row.hammer.output, calls=gold_calls(row), faults=row.faults)
        group = f"l{row.level}"
        return Sample(
            id=row.id,
            groups=(group,) if row.faults else (group, f"{group}-clean"),
            conversation=self._question(row),
            target=target.model_dump(mode="json"),
        )

    def _question(self, row: Row) -> Conversation:
        if self._config.form == "original":
            return to_conversation(row)
        return Conversation(
            id=row.id, messages=(Message(role="user", content=row.hammer.instruction),)
        )

    def _prompt(self, conversation: Conversation) -> Prompt:
        if self._config.form == "original":
            return self._format.render(conversation)
        return tuple(ChatTurn(message.role, message.content) for message in conversation.messages)


class _Target(BaseModel):
    """What an answer is scored against."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    """The right answer as text."""
    calls: tuple[ToolCall, ...]
    """The right answer as calls."""
    faults: tuple[str, ...]
    """Known faults of the row."""


def _answer(conversation: Conversation | None) -> str:
    if conversation is None or conversation.messages[-1].role != "assistant":
        return ""
    return conversation.messages[-1].content


def _named(kind: str, counters: Counters) -> dict[str, float]:
    return {f"{kind} {name}": float(value) for name, value in counters._asdict().items()}


def _counters(kind: str, totals: Mapping[str, float]) -> Counters:
    return Counters(*(round(totals[f"{kind} {name}"]) for name in Counters._fields))
