"""The MultiWOZ task: a live agent with tools and a user, or state tracking alone.

In the live loop (`mode: agent`) the user's turns of the corpus are replayed one by one; after each
the agent calls tools until it answers, and its own answers are the history. The replayed user
answers the human operator of the corpus and not the agent, so a good agent may be misunderstood.
A simulated user, a model with the goal of the dialogue, does answer the agent; its dialogues have
no gold states. With `mode: states` the operator's answers are the history, and only states are
asked for.

Where states come from is part of every figure: `calls` collects them from the arguments of the
agent's calls, `prompt` asks for them in the dialogue state format before the agent answers.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field, JsonValue

from coalm.agent.react import Limits, stop_reason, user_turn
from coalm.agent.rollout import Rollout
from coalm.config import ConfigModel
from coalm.engines.base import Completion
from coalm.engines.config import InferConfig
from coalm.evals.base import Sample, Score
from coalm.evals.multiwoz.data import Corpus, Dialogue, State, Version, load_corpus
from coalm.evals.multiwoz.database import Database
from coalm.evals.multiwoz.figures import AGENT_FIGURES, STATE_FIGURES, figure
from coalm.evals.multiwoz.grade import (
    find_errors,
    grade_dialogue,
    grade_states,
    state_values,
    success_values,
)
from coalm.evals.multiwoz.live import LiveTurn, live_turns, state_value, states_from_calls
from coalm.evals.multiwoz.normalize import evaluator_slot
from coalm.evals.multiwoz.release import Release
from coalm.evals.multiwoz.schemas import state_schemas
from coalm.evals.multiwoz.tools import dialogue_toolbox
from coalm.evals.multiwoz.user import SimulatedUser
from coalm.formats import get_format
from coalm.types import Conversation, Message, Prompt

_Tracking: TypeAlias = Generator[Prompt, Completion, JsonValue]
"""A rollout that comes to a state: domain to slots, or None when the answer was no state."""

_PROMPTS = Path(__file__).parent / "prompts"
_GROUPS = {
    "all": "All dialogues",
    "one": "Dialogues with a goal in one domain",
    "two": "Dialogues with a goal in two domains",
    "three": "Dialogues with a goal in three domains",
}


class MultiWozConfig(ConfigModel):
    """What is asked, and how it is read."""

    mode: Literal["agent", "states"] = "agent"
    """`agent`: the live loop; `states`: state tracking over the corpus' own dialogues."""
    format: Literal["react", "json_calls"] = "react"
    """How the agent writes calls and answers: `react` as CoALM, `json_calls` as Hammer and xLAM."""
    instructions: Path | None = None
    """Instruction text for the agent, in place of coalm's own for this task."""
    states: Literal["calls", "prompt"] = "calls"
    """Where states come from in the live loop; `mode: states` always prompts."""
    state_instructions: Path | None = None
    """Instruction text for the state prompt, in place of coalm's own for this task."""
    history: Literal["full", "spoken"] = "full"
    """What the agent remembers of earlier turns: everything, or only what was said aloud."""
    max_steps: int = Field(default=6, ge=1)
    """A turn without an answer ends after so many messages of the agent."""
    user: Literal["replay", "simulated"] = "replay"
    """In the live loop, who the agent talks to: the turns of the corpus, or a model."""
    simulator: InferConfig | None = None
    """Model and engine of the simulated user, as in an inference file; None is the tested model."""
    user_instructions: Path | None = None
    """Instruction text for the simulated user, in place of coalm's own, with `{goal}` in it."""
    max_turns: int = Field(default=15, ge=1)
    """A dialogue with a simulated user ends after so many turns."""
    version: Version = "2.4"
    """Version of the gold states."""
    data_dir: Path | None = None
    """A MultiWOZ release of yours, folder or zip; None takes the asset `multiwoz`."""


class MultiWoz:
    """MultiWOZ as a `Task` (see the module)."""

    name = "multiwoz"
    version = "1"
    about = "MultiWOZ 2.4: a live agent with tools over 999 dialogues, or state tracking alone"
    groups: Mapping[str, str] = _GROUPS

    def __init__(self, config: MultiWozConfig, *, guided: bool = False) -> None:
        self._config = config
        texts = config.instructions or _PROMPTS / f"{config.format}.txt"
        self._format = get_format(config.format, texts, guided=guided)
        state_texts = config.state_instructions or _PROMPTS / "dst.txt"
        self._state_format = get_format("dst", state_texts, guided=guided)
        self._prompts_states = config.mode == "states" or config.states == "prompt"
        simulated = config.mode == "agent" and config.user == "simulated"
        self._user = (
            SimulatedUser(config.simulator, config.user_instructions) if simulated else None
        )

    @property
    def figures(self) -> Mapping[str, str]:
        """See `Task.figures`."""
        if self._user:
            return {name: said for name, said in AGENT_FIGURES.items() if "strict" not in name}
        agent = AGENT_FIGURES if self._config.mode == "agent" else {}
        return {**agent, **STATE_FIGURES}

    @property
    def main_figures(self) -> Sequence[str]:
        """See `Task.main_figures`."""
        if self._config.mode == "states":
            return ("jga fuzzy", "jga exact", "jga fair", "slot f1 fair")
        if self._user:
            return ("inform", "success", "autotod combined")
        return ("inform", "success", "success strict", "jga fuzzy", "jga fair")

    @property
    def main_value(self) -> str:
        """See `Task.main_value`."""
        return "success" if self._config.mode == "agent" else "jga fuzzy"

    @property
    def stop(self) -> tuple[str, ...]:
        """See `Task.stop`."""
        agent = self._format.stop if self._config.mode == "agent" else ()
        states = self._state_format.stop if self._prompts_states else ()
        return tuple(dict.fromkeys((*agent, *states)))

    def provenance(self) -> dict[str, JsonValue]:
        """See `Task.provenance`."""
        used = [self._format] if self._config.mode == "agent" else []
        used += [self._state_format] if self._prompts_states else []
        _ = self._corpus, self._database
        return {
            "format": ", ".join(one.name for one in used),
            "format_version": ", ".join(one.version for one in used),
            "states": "prompt" if self._prompts_states else "calls",
            "user": "none" if self._config.mode == "states" else self._config.user,
            "data": dict(self._release.checksums),
        }

    def samples(self) -> list[Sample]:
        """See `Task.samples`: the dialogues that papers report."""
        corpus = self._corpus
        return [self._sample(d) for name, d in corpus.dialogues.items() if name in corpus.kept]

    def rollout(self, sample: Sample) -> Rollout:
        """See `Task.rollout`."""
        if self._config.mode == "states":
            return self._track(sample.conversation)
        return self._talk(self._corpus.dialogues[sample.id])

    def score(self, sample: Sample, conversation: Conversation | None) -> Score:
        """See `Task.score`."""
        dialogue = self._corpus.dialogues[sample.id]
        if self._user:  # what the corpus' user said was not said here
            dialogue = dialogue._replace(turns=())
        turns = [] if conversation is None else live_turns(conversation)
        turns += [LiveTurn(turn.user, (), "") for turn in dialogue.turns[len(turns) :]]
        states = self._states(conversation, turns)
        compared = grade_states(dialogue, states)
        values = state_values(compared)
        said: list[JsonValue] = [_as_json(state) for state in states]
        right: list[JsonValue] = [score.fuzzy for score in compared]
        metadata: dict[str, JsonValue] = {"states": said, "right": right}
        if self._config.mode == "states":
            count = sum(score.fuzzy for score in compared)
            kinds = {len(compared): "all right", 0: "none right"}
            verdict = kinds.get(count, "some right")
            return Score(values=values, verdict=verdict, metadata=metadata)
        grades = grade_dialogue(dialogue, turns, states, self._database)
        found = find_errors(dialogue, turns, grades.verdict)
        values |= success_values(grades)
        metadata["inform"] = dict(grades.verdict.inform)
        metadata["success"] = dict(grades.verdict.success)
        metadata["autotod"] = {d: o._asdict() for d, o in grades.outcomes.items()}
        return Score(
            values=values,
            verdict=found.verdict if conversation else "no dialogue",
            explanation=found.explanation,
            metadata=metadata,
        )

    def aggregate(self, totals: Mapping[str, float]) -> dict[str, float]:
        """See `Task.aggregate`; everything is in percent."""
        return {name: figure(name, totals) for name in self.figures}

    @cached_property
    def _release(self) -> Release:
        return Release(self._config.data_dir)

    @cached_property
    def _corpus(self) -> Corpus:
        return load_corpus(self._release, self._config.version)

    @cached_property
    def _database(self) -> Database:
        return Database.load(self._release)

    def _sample(self, dialogue: Dialogue) -> Sample:
        messages: list[Message] = []
        for turn in () if self._user else dialogue.turns:
            messages.append(Message(role="user", content=turn.user))
            if self._config.mode == "states":
                messages.append(Message(role="assistant", content=turn.system))
        domains = ("one", "two", "three")[min(len(dialogue.goal), 3) - 1]
        goal: dict[str, JsonValue] = {
            domain: wish.model_dump(mode="json") for domain, wish in dialogue.goal.items()
        }
        return Sample(
            id=dialogue.id,
            groups=(domains, "all"),
            conversation=Conversation(id=dialogue.id, messages=tuple(messages)),
            target=goal,
        )

    def _talk(self, dialogue: Dialogue) -> Rollout:
        """The live loop."""
        toolbox = dialogue_toolbox(self._database, dialogue.id)
        limits = Limits(max_steps=self._config.max_steps)
        conversation = Conversation(id=dialogue.id, tools=toolbox.schemas)
        states: list[JsonValue] = []
        stops: list[JsonValue] = []
        turn = 0
        while (words := (yield from self._next_words(dialogue, turn, conversation))) is not None:
            message = Message(role="user", content=words)
            turn += 1
            if self._prompts_states:
                states.append((yield from self._ask_state(conversation.extended(message))))
            remembered = self._remembered(conversation).extended(message)
            done = yield from user_turn(remembered, self._format, toolbox, limits)
            if reason := stop_reason(done):
                stops.append({"turn": turn, "reason": reason})
            conversation = conversation.extended(
                message, *done.messages[len(remembered.messages) :]
            )
        meta: dict[str, JsonValue] = {"stops": stops}
        if self._prompts_states:
            meta["states"] = states
        return conversation.model_copy(update={"meta": meta})

    def _next_words(
        self, dialogue: Dialogue, turn: int, conversation: Conversation
    ) -> Generator[Prompt, Completion, str | None]:
        """What the user says in a turn, counted from 0; None when the dialogue is over."""
        if self._user is None:
            return dialogue.turns[turn].user if turn < len(dialogue.turns) else None
        if turn >= self._config.max_turns:
            return None
        return (yield from self._user.speak(dialogue, _spoken(conversation)))

    def _track(self, asked: Conversation) -> Rollout:
        """State prompts over a dialogue that is there already."""
        states: list[JsonValue] = []
        for at, message in enumerate(asked.messages):
            if message.role == "user":
                heard = asked.model_copy(update={"messages": asked.messages[: at + 1]})
                states.append((yield from self._ask_state(heard)))
        return asked.model_copy(update={"meta": {"states": states}})

    def _ask_state(self, conversation: Conversation) -> _Tracking:
        spoken = _spoken(conversation).model_copy(update={"tools": state_schemas()})
        completion = yield self._state_format.render(spoken)
        answer = self._state_format.parse(completion.text)
        if any(call.error is not None for call in answer.tool_calls):
            return None
        return {call.name: dict(call.arguments) for call in answer.tool_calls}

    def _remembered(self, conversation: Conversation) -> Conversation:
        return conversation if self._config.history == "full" else _spoken(conversation)

    def _states(
        self, conversation: Conversation | None, turns: Sequence[LiveTurn]
    ) -> list[State | None]:
        """The state after each turn, by the way that the configuration names."""
        if not self._prompts_states:
            return [None] * len(turns) if conversation is None else [*states_from_calls(turns)]
        found = conversation.meta.get("states") if conversation else None
        states = [_read_state(one) for one in found] if isinstance(found, list) else []
        return [*states, *[None] * (len(turns) - len(states))]


def _spoken(conversation: Conversation) -> Conversation:
    """The conversation as the user hears it: no calls, no results, no empty answers."""
    kept = (
        Message(role=message.role, content=message.content)
        for message in conversation.messages
        if message.role in ("user", "assistant") and message.content and not message.tool_calls
    )
    return conversation.model_copy(update={"messages": tuple(kept)})


def _read_state(found: JsonValue) -> State | None:
    if not isinstance(found, dict):
        return None
    state = {d.strip().lower(): slots for d, slots in found.items() if isinstance(slots, dict)}
    read = {
        domain: {evaluator_slot(slot): state_value(value) for slot, value in slots.items()}
        for domain, slots in state.items()
    }
    filled = {d: {slot: text for slot, text in slots.items() if text} for d, slots in read.items()}
    return {domain: slots for domain, slots in filled.items() if slots}


def _as_json(state: State | None) -> JsonValue:
    return None if state is None else {domain: dict(slots) for domain, slots in state.items()}
