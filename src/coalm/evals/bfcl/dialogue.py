"""The dialogue with a model over one entry: how it is asked, and what its replies come to.

A *result* is what the official files hold for an entry: the reply of a single turn, or a list over
turns of lists over steps of replies. A reply is text, or, of a function-calling engine, a list of
`{function name: arguments as JSON text}`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import cast

from pydantic import JsonValue

from coalm.agent.rollout import Rollout
from coalm.errors import ParseError
from coalm.evals.bfcl.data import Entry
from coalm.evals.bfcl.decode import decode_fc
from coalm.evals.bfcl.prompts import (
    first_functions,
    first_messages,
    later_functions,
    tool_schemas,
    turn_messages,
)
from coalm.evals.bfcl.simulators import Simulators
from coalm.evals.bfcl.state_check import MAX_CALLS, MAX_STEPS, read_calls
from coalm.evals.bfcl.verdict import Value
from coalm.formats.base import PromptFormat
from coalm.formats.text import well_formed
from coalm.types import ChatTurn, Conversation, Message, Prompt, ToolCall

RECORDED = "result"
"""Key of `Conversation.meta` that holds the result where it was read from a file."""


class Dialogues:
    """Dialogues in one style: the official text, or one of coalm's formats."""

    def __init__(self, prompt_format: PromptFormat | None) -> None:
        self.format = prompt_format
        """None for the official text."""
        self.calling = prompt_format is not None
        """Whether replies are calls rather than text."""

    def question(self, entry: Entry, name: str) -> Conversation:
        """What the model gets to see first."""
        if not self.calling:
            return Conversation(id=name, messages=first_messages(entry))
        tools = tool_schemas(first_functions(entry), entry.category.language)
        messages = turn_messages(entry, 0, as_tools=True)
        return Conversation(id=name, messages=messages, tools=tools)

    def rollout(self, entry: Entry, conversation: Conversation) -> Rollout:
        """The whole dialogue; for many turns `meta` says how many replies each one got."""
        if entry.category.scoring == "multi_turn":
            return self._many_turns(entry, conversation)
        return self._one_turn(conversation)

    def result(self, entry: Entry, conversation: Conversation) -> JsonValue:
        """The result of a finished dialogue."""
        if RECORDED in conversation.meta:
            return conversation.meta[RECORDED]
        replies = [message for message in conversation.messages if message.role == "assistant"]
        if entry.category.scoring != "multi_turn":
            return self._raw(replies[-1])
        left = iter(replies)
        steps = conversation.meta.get("steps")
        counts = [int(str(count)) for count in steps] if isinstance(steps, list) else []
        return [[self._raw(next(left)) for _ in range(count)] for count in counts]

    def replay(self, entry: Entry, conversation: Conversation, result: JsonValue) -> Conversation:
        """The dialogue that a result on file comes from, results of its calls included."""
        meta: dict[str, JsonValue] = {RECORDED: result}
        if entry.category.scoring != "multi_turn":
            conversation = conversation.extended(self._recorded(result))
        elif isinstance(result, list):
            simulators = Simulators(entry)
            for turn, replies in enumerate(result):
                if 0 < turn < len(entry.question):
                    conversation = self._next_turn(entry, conversation, turn)
                for reply in replies if isinstance(replies, list) else []:
                    message = self._recorded(reply)
                    answers = self._answers(simulators, self._calls(reply))
                    conversation = conversation.extended(message, *answers)
        return conversation.model_copy(update={"meta": meta})

    def _one_turn(self, conversation: Conversation) -> Rollout:
        completion = yield self._prompt(conversation)
        return conversation.extended(self._reply(completion.text))

    def _many_turns(self, entry: Entry, conversation: Conversation) -> Rollout:
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
                calls = self._calls(self._raw(reply))
                if calls in ([], [""]):
                    break
                conversation = conversation.extended(*self._answers(simulators, calls))
            else:
                steps.append(count)
                break
            steps.append(count)
        return conversation.model_copy(update={"meta": {"steps": steps}})

    def _next_turn(self, entry: Entry, conversation: Conversation, turn: int) -> Conversation:
        messages = turn_messages(entry, turn, as_tools=self.calling)
        conversation = conversation.extended(*messages)
        if not self.calling:
            return conversation
        more = tool_schemas(later_functions(entry, turn), entry.category.language)
        return conversation.model_copy(update={"tools": (*conversation.tools, *more)})

    def _calls(self, reply: JsonValue) -> list[str]:
        return read_calls(reply, function_calling=self.calling)[:MAX_CALLS]

    @staticmethod
    def _answers(simulators: Simulators, calls: Sequence[str]) -> Iterator[Message]:
        return (Message(role="tool", content=well_formed(simulators.run(c))) for c in calls)

    def _prompt(self, conversation: Conversation) -> Prompt:
        if self.format is not None:
            return self.format.render(conversation)
        return tuple(ChatTurn(message.role, message.content) for message in conversation.messages)

    def _reply(self, text: str) -> Message:
        if self.format is not None:
            return self.format.parse(text)
        return Message(role="assistant", content=well_formed(text))

    def _raw(self, reply: Message) -> JsonValue:
        """A reply as the official scorer takes it."""
        calls = [call for call in reply.tool_calls if call.error is None]
        if not self.calling or not calls:
            return reply.content
        return [{call.name: json.dumps(call.arguments)} for call in calls]

    def _recorded(self, reply: JsonValue) -> Message:
        """A reply on file as a message, for a reader."""
        if self.calling and isinstance(reply, list):
            try:
                calls = tuple(_tool_call(*item) for c in decode_fc(reply) for item in c.items())
            except ParseError:
                return Message(role="assistant", content=json.dumps(reply))
            return Message(role="assistant", tool_calls=calls)
        text = reply if isinstance(reply, str) else json.dumps(reply)
        return Message(role="assistant", content=well_formed(text))


def _tool_call(name: str, arguments: Value) -> ToolCall:
    if not isinstance(arguments, dict):
        raise ParseError(f"arguments of {name} are no JSON object")
    return ToolCall(name=well_formed(name), arguments=sound(cast("Value", arguments)))


def sound(value: Value) -> Value:
    """A JSON value that every JSON file can hold: no lone surrogates, no infinity, no NaN."""
    match value:
        case str():
            return well_formed(value)
        case list():
            return [sound(item) for item in cast("list[Value]", value)]
        case dict():
            return {
                well_formed(key): sound(item)
                for key, item in cast("dict[str, Value]", value).items()
            }
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value
