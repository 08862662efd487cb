"""Held-out records: does the model answer as the record does?

The records are a file that `coalm data build` wrote and training did not see, `validation.jsonl`;
each ends with the assistant's message to predict. A record::

    {"id": "sgd/1_00000/3/action", "messages": [..., {"role": "assistant", "thought": "...",
     "tool_calls": [{"name": "FindRestaurants", "arguments": {"city": "San Jose"}}]}],
     "tools": [...], "meta": {"source": "sgd", "skill": "CRA", "format": "react", ...}}

Calls and dialogue states are compared exactly. Of a reply in words only the decision to reply is
judged: any wording may be right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from pydantic import JsonValue, ValidationError

from coalm import jsonl
from coalm.agent.rollout import Rollout
from coalm.config import ConfigModel
from coalm.errors import DataError
from coalm.evals.base import Sample, Score
from coalm.evals.calls import compare_calls
from coalm.formats import PromptFormat, get_format
from coalm.types import Conversation, Message

_SKILLS = {
    "TOD": "State tracking (TOD)",
    "LA": "Function calls (LA)",
    "CRA": "ReAct dialogue turns (CRA)",
}


class HeldOutConfig(ConfigModel):
    """Which records to ask."""

    path: Path = Path("output/coalm_it/validation.jsonl")
    """Records as `coalm data build` writes them."""


class HeldOut:
    """Records kept out of training, as a `Task` (see the module)."""

    name = "heldout"
    version = "1"
    about = "records that `coalm data build` kept out of training: states, calls, decisions"
    figures: Mapping[str, str] = {
        "readable": "answers that are of their format",
        "right decision": "answers that call where the record calls, and reply where it replies",
        "exact call": "calls and states that are exactly those of the record",
        "right function": "calls of exactly the functions (states: domains) of the record",
        "right arguments": "arguments (states: slots) given with the right value",
    }
    main_figures: Sequence[str] = ("readable", "right decision", "exact call", "right arguments")
    main_value = "right"
    groups: Mapping[str, str] = _SKILLS

    def __init__(self, config: HeldOutConfig, *, guided: bool = False) -> None:
        self._path = config.path
        self._guided = guided

    @property
    def stop(self) -> tuple[str, ...]:
        """See `Task.stop`: what any format of the records must not run into."""
        return tuple(sorted({text for form in self._formats for text in form.stop}))

    def provenance(self) -> dict[str, JsonValue]:
        """See `Task.provenance`."""
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {
            "format": ", ".join(form.name for form in self._formats),
            "format_version": ", ".join(form.version for form in self._formats),
            "data": {self._path.name: digest},
        }

    def samples(self) -> list[Sample]:
        """See `Task.samples`."""
        return self._samples

    def rollout(self, sample: Sample) -> Rollout:
        """See `Task.rollout`: one prompt, one answer."""
        form = self._format_of(sample.conversation)
        completion = yield form.render(sample.conversation)
        return sample.conversation.extended(form.parse(completion.text))

    def score(self, sample: Sample, conversation: Conversation | None) -> Score:
        """See `Task.score`."""
        target = Message.model_validate(sample.target)
        answer = conversation.messages[-1] if conversation else Message(role="assistant")
        compared = compare_calls(answer, target.tool_calls)
        readable = conversation is not None and all(c.error is None for c in answer.tool_calls)
        decided = readable and bool(answer.tool_calls) == bool(target.tool_calls)
        # where the record speaks to the user, saying nothing is no reply
        decided = decided and bool(answer.content or not target.content)
        calls = bool(target.tool_calls)
        exact = calls and compared.verdict == "exact"
        reply = "reply" if decided else "no reply"
        return Score(
            values={
                "readable": float(readable),
                "right decision": float(decided),
                "call samples": float(calls),
                "exact call": float(exact),
                "right function": float(calls and compared.right_function),
                "right arguments": float(sum(compared.arguments.values())),
                "gold arguments": float(len(compared.arguments)),
                "right": float(exact if calls else decided),
            },
            verdict=compared.verdict if calls else reply,
            explanation=compared.explanation,
        )

    def aggregate(self, totals: Mapping[str, float]) -> dict[str, float]:
        """See `Task.aggregate`; everything is in percent."""
        of = {"readable": "samples", "right decision": "samples", "exact call": "call samples"}
        of |= {"right function": "call samples", "right arguments": "gold arguments"}
        return {name: 100 * totals[name] / max(totals[of[name]], 1) for name in self.figures}

    @cached_property
    def _formats(self) -> list[PromptFormat]:
        names = {str(sample.conversation.meta.get("format")) for sample in self._samples}
        return [get_format(name) for name in sorted(names)]

    def _format_of(self, conversation: Conversation) -> PromptFormat:
        return get_format(str(conversation.meta.get("format")), guided=self._guided)

    @cached_property
    def _samples(self) -> list[Sample]:
        return [_sample(self._path, number, row) for number, row in jsonl.read(self._path)]


def _sample(path: Path, number: int, row: Mapping[str, JsonValue]) -> Sample:
    try:
        record = Conversation.model_validate(row)
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}:{number}: no conversation: {where}: {first['msg']}") from e
    skill = record.meta.get("skill")
    if not record.messages or record.messages[-1].role != "assistant" or skill not in _SKILLS:
        raise DataError(
            f"{path}:{number}: expected a record of skill {', '.join(_SKILLS)} that ends with the "
            "assistant; write one with `coalm data build`"
        )
    return Sample(
        id=record.id,
        groups=(str(skill),),
        conversation=record.model_copy(update={"messages": record.messages[:-1]}),
        target=record.messages[-1].model_dump(mode="json"),
    )
