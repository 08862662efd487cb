"""The mini world task: a scripted user with an errand talks with the live agent and its tools.

The prompts are those of `coalm chat --world mini`, the world is that of its seed. An errand is done
when the tools returned what was wished, nothing else was changed, and the agent said aloud what the
user wanted to know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from coalm.agent.react import Limits, stop_reason, user_turn
from coalm.agent.rollout import Rollout
from coalm.config import ConfigModel
from coalm.evals.base import Sample, Score
from coalm.evals.world.errands import Errand, draw_errands
from coalm.evals.world.score import DONE, KINDS, judge
from coalm.evals.world.steps import read_dialogue
from coalm.evals.world.user import ScriptedUser
from coalm.formats import get_format
from coalm.formats.tool_text import ToolText, tool_text_meta
from coalm.types import Conversation, Message
from coalm.world.rules import TODAY_TEXT
from coalm.world.tools import world_toolbox

_GROUPS = {
    "all": "All errands",
    "one": "Errands with one service",
    "several": "Errands with two or three services",
}
_FIGURES = {
    "success": "errands that were done: called as wished, told, and nothing else changed",
    "wants": "parts of errands that were done",
    **{kind: f"errands where the first fault is: {said}" for kind, said in KINDS.items()},
    "turns": "turns of the user in an errand, on average",
}


class WorldConfig(ConfigModel):
    """Which errands, and how the agent is asked."""

    errands: int = Field(default=200, ge=1)
    """How many are drawn."""
    draw: int = 1
    """Another number, other errands."""
    world: int = 0
    """Seed of the world; 0 is that of the chat. Training plays in others."""
    format: Literal["react", "json_calls", "python_calls", "system_calls"] = "react"
    """How the agent reads and answers."""
    tool_text: ToolText = "full"
    """How the functions are shown, as in `coalm data build`."""
    instructions: Path | None = None
    """Instruction text in place of the format's own."""
    max_steps: int = Field(default=6, ge=1)
    """A turn without an answer ends after so many messages of the agent."""
    max_turns: int = Field(default=30, ge=1)
    """A dialogue ends after so many turns of the user."""


class World:
    """The mini world as a `Task` (see the module)."""

    name = "world"
    version = "2"
    about = "the mini world: a scripted user's errands, done with the tools that a chat offers"
    groups: Mapping[str, str] = _GROUPS
    figures: Mapping[str, str] = _FIGURES
    main_figures: Sequence[str] = ("success", "wants")
    main_value = "success"

    def __init__(self, config: WorldConfig, *, guided: bool = False) -> None:
        self._config = config
        self._format = get_format(config.format, config.instructions, guided=guided)

    @property
    def stop(self) -> tuple[str, ...]:
        """See `Task.stop`."""
        return self._format.stop

    def provenance(self) -> dict[str, JsonValue]:
        """See `Task.provenance`; the world follows from its seed, so there are no files."""
        return {
            "format": self._format.name,
            "format_version": self._format.version,
            "tool_text": self._config.tool_text,
            "data": {},
        }

    def samples(self) -> list[Sample]:
        """See `Task.samples`."""
        return [self._sample(errand) for errand in self._errands.values()]

    def rollout(self, sample: Sample) -> Rollout:
        """See `Task.rollout`: the user talks until all is done or patience ends."""
        user = ScriptedUser(self._errands[sample.id])
        toolbox = world_toolbox(self._config.world)
        limits = Limits(max_steps=self._config.max_steps)
        conversation = sample.conversation.model_copy(update={"tools": toolbox.schemas})
        stops: list[JsonValue] = []
        for turn in range(self._config.max_turns):
            words = user.speak(read_dialogue(conversation))
            if words is None:
                break
            asked = conversation.extended(Message(role="user", content=words))
            conversation = yield from user_turn(asked, self._format, toolbox, limits)
            if reason := stop_reason(conversation):
                stops.append({"turn": turn + 1, "reason": reason})
        meta: dict[str, JsonValue] = {**sample.conversation.meta, "stops": stops}
        return conversation.model_copy(update={"meta": meta, "tools": ()})

    def score(self, sample: Sample, conversation: Conversation | None) -> Score:
        """See `Task.score`."""
        if conversation is None:
            return Score(values={"no dialogue": 1.0}, verdict="no dialogue")
        errand = Errand.model_validate(sample.target)
        dialogue = read_dialogue(conversation)
        judged = judge(errand, dialogue)
        kind = judged.verdict.kind
        done = [verdict.kind == DONE for verdict in judged.wants]
        return Score(
            values={
                "success": float(kind == DONE),
                "wants done": float(sum(done)),
                "wants": float(len(done)),
                kind: 1.0,
                "turns": float(len(dialogue.turns)),
            },
            verdict=kind,
            explanation=judged.verdict.detail or None,
            parts={
                f"{number}. {want.intent}": met
                for number, (want, met) in enumerate(zip(errand.wants, done, strict=True), start=1)
            },
        )

    def aggregate(self, totals: Mapping[str, float]) -> dict[str, float]:
        """See `Task.aggregate`; shares are in percent."""
        samples = totals["samples"]
        found = {kind: 100 * totals.get(kind, 0.0) / samples for kind in ("success", *KINDS)}
        found["wants"] = 100 * totals.get("wants done", 0.0) / max(totals.get("wants", 0.0), 1.0)
        found["turns"] = totals.get("turns", 0.0) / samples
        return {name: found[name] for name in _FIGURES}

    @cached_property
    def _errands(self) -> dict[str, Errand]:
        config = self._config
        drawn = draw_errands(config.errands, config.draw, config.world)
        return {errand.id: errand for errand in drawn}

    def _sample(self, errand: Errand) -> Sample:
        several = len({want.service for want in errand.wants}) > 1
        return Sample(
            id=errand.id,
            groups=("several" if several else "one", "all"),
            conversation=Conversation(
                id=errand.id,
                messages=(Message(role="system", content=TODAY_TEXT),),
                meta=tool_text_meta(self._config.tool_text),
            ),
            target=errand.model_dump(mode="json"),
        )
