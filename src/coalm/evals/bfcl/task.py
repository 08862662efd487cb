"""The BFCL V3 task: function calls, one turn or many, with the official verdicts.

Two styles of the question:

- `prompt`: the official text for models without a function-calling mode, the way in which CoALM's
  published scores were made; the reply is `[function(parameter=value)]`;
- `calls`: the functions as JSON Schema in one of coalm's own prompt formats.

In the multi-turn categories the model's calls are run on simulated back ends and the results go
back to it, until it calls nothing more or has been asked too often.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue, field_validator

from coalm import assets
from coalm.agent.rollout import Rollout
from coalm.config import ConfigModel
from coalm.errors import ParseError
from coalm.evals.base import Sample, Score
from coalm.evals.bfcl.categories import CATEGORIES, PARTS
from coalm.evals.bfcl.data import ASSET, KNOWN_FAULTS, WHEEL, Entry, load_category
from coalm.evals.bfcl.decode import decode, decode_fc
from coalm.evals.bfcl.exec_check import is_offline, judge_exec
from coalm.evals.bfcl.exec_proxy import judge_by_proxy
from coalm.evals.bfcl.figures import FIGURES, figures, values
from coalm.evals.bfcl.prompts import (
    first_functions,
    first_messages,
    later_functions,
    tool_schemas,
    turn_messages,
)
from coalm.evals.bfcl.simulators import Simulators
from coalm.evals.bfcl.single_turn import judge_reply
from coalm.evals.bfcl.state_check import MAX_CALLS, judge_dialogue, read_calls
from coalm.evals.bfcl.verdict import Verdict
from coalm.formats import get_format
from coalm.formats.text import well_formed
from coalm.types import ChatTurn, Conversation, Message, Prompt

MAX_STEPS = 20
"""Steps of one turn after which the official runner gives up; it notices one step late."""
_TITLES = {
    "all": "Everything that was asked",
    "non_live": "Non-live: written questions",
    "live": "Live: questions of real users",
    "multi_turn": "Multi-turn: dialogues with back ends",
    "exec": "Executable: retired in April 2025, partly guessed here",
}


class BfclConfig(ConfigModel):
    """What of BFCL V3 to run, and in which style."""

    categories: tuple[str, ...] = Field(default=("non_live", "live", "multi_turn"), min_length=1)
    """Categories, or the parts `non_live`, `live`, `multi_turn` and `exec`."""
    style: Literal["prompt", "calls"] = "prompt"
    """`prompt`: the official text of prompt models; `calls`: one of coalm's own formats."""
    format: Literal["json_calls", "python_calls", "react"] = "json_calls"
    """The prompt format of the style `calls`."""
    instructions: Path | None = None
    """Instruction text for the style `calls`, in place of coalm's own."""

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
    main_figures: Sequence[str] = ("accuracy",)
    main_value = "right"
    stop: tuple[str, ...] = ()

    def __init__(self, config: BfclConfig) -> None:
        self._config = config
        self._calling = config.style == "calls"
        self._format = get_format(config.format, config.instructions)

    def provenance(self) -> dict[str, JsonValue]:
        """See `Task.provenance`."""
        return {
            "format": self._format.name if self._calling else "bfcl",
            "format_version": self._format.version if self._calling else "1",
            "data": {WHEEL: assets.get(ASSET).origin(WHEEL).files[WHEEL]},
        }

    def samples(self) -> list[Sample]:
        """See `Task.samples`."""
        return [self._sample(name, entry) for name, entry in self._entries.items()]

    def rollout(self, sample: Sample) -> Rollout:
        """See `Task.rollout`."""
        entry = self._entries[sample.id]
        if entry.category.scoring == "multi_turn":
            return self._many_turns(entry, sample.conversation)
        return self._one_turn(sample.conversation)

    def score(self, sample: Sample, conversation: Conversation | None) -> Score:
        """See `Task.score`."""
        entry = self._entries[sample.id]
        verdict = self._judge(entry, conversation)
        explanation = None if verdict.explanation is None else well_formed(verdict.explanation)
        return Score(
            values=values(entry.category, verdict.valid, offline=is_offline(entry)),
            verdict=verdict.error_type or "right",
            explanation=explanation,
            metadata={
                "decoded": self._decoded(entry, conversation),
                "fault": KNOWN_FAULTS.get(entry.id),
                "guessed": entry.category.retired and not is_offline(entry),
            },
        )

    def aggregate(self, totals: Mapping[str, float]) -> dict[str, float]:
        """See `Task.aggregate`; everything is in percent."""
        return figures(totals)

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        """Sample id to entry; the official ids, but that one comes twice."""
        wanted = {name for part in self._config.categories for name in PARTS.get(part, (part,))}
        found: dict[str, Entry] = {}
        for name in CATEGORIES:
            for entry in load_category(name) if name in wanted else ():
                found[f"{entry.id}#2" if entry.id in found else entry.id] = entry
        return found

    def _sample(self, name: str, entry: Entry) -> Sample:
        if self._calling:
            tools = tool_schemas(first_functions(entry), entry.category.language)
            messages = turn_messages(entry, 0, as_tools=True)
            conversation = Conversation(id=name, messages=messages, tools=tools)
        else:
            conversation = Conversation(id=name, messages=first_messages(entry))
        return Sample(
            id=name,
            groups=(entry.category.name, entry.category.part, "all"),
            conversation=conversation,
            target=entry.answer,
        )

    # dialogues

    def _one_turn(self, conversation: Conversation) -> Rollout:
        completion = yield self._prompt(conversation)
        return conversation.extended(self._reply(completion.text))

    def _many_turns(self, entry: Entry, conversation: Conversation) -> Rollout:
        """All turns of the user; `meta` says how many replies each one got."""
        simulators = Simulators(entry)
        steps: list[JsonValue] = []
        for turn in range(len(entry.question)):
            if turn > 0:
                conversation = self._next_turn(entry, conversation, turn)
            count = 0
            while count <= MAX_STEPS:
                completion = yield self._prompt(conversation)
                reply = self._reply(completion.text)
                conversation = conversation.extended(reply)
                count += 1
                calls = read_calls(self._raw(reply), function_calling=self._calling)[:MAX_CALLS]
                if calls in ([], [""]):
                    break
                conversation = conversation.extended(
                    *(Message(role="tool", content=simulators.run(call)) for call in calls)
                )
            else:
                steps.append(count)
                break
            steps.append(count)
        return conversation.model_copy(update={"meta": {"steps": steps}})

    def _next_turn(self, entry: Entry, conversation: Conversation, turn: int) -> Conversation:
        messages = turn_messages(entry, turn, as_tools=self._calling)
        conversation = conversation.extended(*messages)
        if not self._calling:
            return conversation
        more = tool_schemas(later_functions(entry, turn), entry.category.language)
        return conversation.model_copy(update={"tools": (*conversation.tools, *more)})

    def _prompt(self, conversation: Conversation) -> Prompt:
        if self._calling:
            return self._format.render(conversation)
        return tuple(ChatTurn(message.role, message.content) for message in conversation.messages)

    def _reply(self, text: str) -> Message:
        if self._calling:
            return self._format.parse(text)
        return Message(role="assistant", content=well_formed(text))

    # verdicts

    def _judge(self, entry: Entry, conversation: Conversation | None) -> Verdict:
        if conversation is None:
            return Verdict("inference_error", "the dialogue failed")
        replies = [message for message in conversation.messages if message.role == "assistant"]
        if entry.category.scoring == "multi_turn":
            turns = [*self._turns(conversation, replies)]
            return judge_dialogue(entry, turns, function_calling=self._calling)
        reply = self._raw(replies[-1])
        if is_offline(entry):
            return judge_exec(entry, reply, function_calling=self._calling)
        if entry.category.retired:
            return judge_by_proxy(entry, reply, function_calling=self._calling)
        return judge_reply(entry, reply, function_calling=self._calling, underscores=self._calling)

    def _turns(
        self, conversation: Conversation, replies: Sequence[Message]
    ) -> Iterator[list[JsonValue]]:
        """The replies turn by turn, from how many each turn got."""
        left = iter(replies)
        steps = conversation.meta.get("steps")
        for count in steps if isinstance(steps, list) else ():
            yield [self._raw(next(left)) for _ in range(int(str(count)))]

    def _raw(self, reply: Message) -> JsonValue:
        """A reply as the official scorer takes it: text, or calls with arguments as JSON text."""
        calls = [call for call in reply.tool_calls if call.error is None]
        if not self._calling or not calls:
            return reply.content
        return [{call.name: json.dumps(call.arguments)} for call in calls]

    def _decoded(self, entry: Entry, conversation: Conversation | None) -> str | None:
        """What a reply decodes to, for a reader; None when it does not decode."""
        if conversation is None or entry.category.scoring == "multi_turn":
            return None
        raw = self._raw(conversation.messages[-1])
        try:
            found = decode_fc(raw) if self._calling else decode(str(raw), entry.category.language)
        except ParseError:
            return None
        return well_formed(repr(found))
