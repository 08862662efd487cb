"""CoALM's dialogue turns: Thought, Action, Observation, reply, each behind its label.

The prompt is one user turn: an instruction (task, numbered functions, form, earlier turns as
`{history}`) and the current turn, from the user's last words on. The model answers with one of::

    Thought: I know the city and the cuisine, so I can search.
    Action: FindRestaurants(city="San Jose", cuisine="Italian")

    Thought: The first result fits, so I offer it.
    System: How about 71 Saint Peter?

A line inside a text that begins with a label is written with a backslash before it, so that no text
can pose as another part of the turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from coalm.errors import FormatError, ParseError
from coalm.formats.base import AlpacaPrompt, is_open, one_turn, split_turn
from coalm.formats.calls import read_calls, write_calls
from coalm.formats.grammar import MOST_CALLS, TEXT_CHARS, json_value, python_calls, several
from coalm.formats.instructions import Instructions
from coalm.formats.react_reader import LABELS, ReactReader
from coalm.formats.text import well_formed
from coalm.formats.tool_text import signature_list
from coalm.memo import Memo
from coalm.types import Conversation, Message, Prompt, ToolCall, ToolSchema

_LABELS = "|".join(LABELS)
_LABEL = re.compile(rf"^({_LABELS})(?: \d+)?:", re.MULTILINE)
_TO_GUARD = re.compile(rf"\n(\\*(?:{_LABELS})(?: \d+)?:)")
_GUARDED = re.compile(rf"\n\\(\\*(?:{_LABELS})(?: \d+)?:)")

# a line of a reply that could begin with a label could also end the reply
_TEXTS = rf"""
LINE: /[^\n]{{1,{TEXT_CHARS}}}/
REPLY: /[^\n]{{1,{TEXT_CHARS}}}(\n([^\nTAOSU\\][^\n]{{0,{TEXT_CHARS}}})?){{0,30}}/
"""


class ReactFormat:
    """Renders and parses ReAct dialogue turns (see the module)."""

    name = "react"
    stop = ("\nObservation:", "\nUser:")

    def __init__(self, instructions: Path | None = None) -> None:
        self._instructions = Instructions(self.name, ("context", "tools", "history"), instructions)
        self.version = "1" + self._instructions.suffix
        self._text = Memo(self._write)  # all samples of a dialogue have its messages in common

    def render(self, conversation: Conversation) -> Prompt:
        """See `PromptFormat.render`."""
        return one_turn(self.render_alpaca(conversation))

    def render_alpaca(self, conversation: Conversation) -> AlpacaPrompt:
        """See `PromptFormat.render_alpaca`."""
        turn = split_turn(conversation)
        instruction = self._instructions.fill(
            {
                "context": turn.context,
                "tools": signature_list(conversation),
                "history": "\n".join(self._text(message) for message in turn.history),
            }
        )
        return AlpacaPrompt(instruction, "\n".join(self._text(message) for message in turn.current))

    def _write(self, message: Message) -> str:
        if message.role == "assistant":
            return self.render_reply(message)
        label = "User" if message.role == "user" else "Observation"
        return _part(label, message.content)

    def render_reply(self, message: Message) -> str:
        """See `PromptFormat.render_reply`."""
        if message.role != "assistant":
            raise FormatError(f"only an assistant's message is a reply, got role {message.role!r}")
        parts: list[str] = []
        if message.thought is not None:
            parts.append(_part("Thought", message.thought))
        if message.content or not (message.tool_calls or is_open(message)):
            parts.append(_part("System", message.content))
        if message.tool_calls:
            parts.append(_part("Action", write_calls(message.tool_calls)))
        return "\n".join(parts)

    def parse(self, text: str) -> Message:
        """See `PromptFormat.parse`; text without any label is a plain reply."""
        thoughts: list[str] = []
        replies: list[str] = []
        calls: list[ToolCall] = []
        for label, body in _parts(well_formed(text)):
            if label == "Thought":
                thoughts.append(body)
            elif label == "System":
                replies.append(body)
            elif label == "Action":
                calls += _read_action(body)
            else:
                # the other side's words: the model went on to play the user or the tool
                break
        return Message(
            role="assistant",
            thought="\n".join(thoughts) if thoughts else None,
            content="\n".join(replies),
            tool_calls=tuple(calls),
        )

    def reader(self, *, calls: bool = True) -> ReactReader:
        """See `PromptFormat.reader`."""
        return ReactReader(calls=calls)

    def grammar(
        self,
        tools: Sequence[ToolSchema],
        *,
        must_call: bool = False,
        most_calls: int = MOST_CALLS,
    ) -> str:
        """See `PromptFormat.grammar`."""
        grammar, call = python_calls(tools)
        says = '"System: " REPLY'
        if tools:
            acts = f'"Action: " {several(call, most_calls)}'
            says = acts if must_call else f"({says} | {acts})"
        return grammar.text(f'("Thought: " LINE "\\n")? {says}') + _TEXTS

    def json_grammar(self, schema: Mapping[str, JsonValue]) -> str:
        """See `PromptFormat.json_grammar`."""
        return f'start: ("Thought: " LINE "\\n")? "System: " {json_value(schema)}\n{_TEXTS}'


def _part(label: str, body: str) -> str:
    guarded = _TO_GUARD.sub(r"\n\\\1", body.strip())
    return f"{label}: {guarded}" if guarded else f"{label}:"


def _parts(text: str) -> list[tuple[str, str]]:
    """(label, body) of each part in order; words before the first label count as a reply."""
    first, *rest = _LABEL.split(text)
    found = [("System", first)] if first.strip() or not rest else []
    found += zip(rest[::2], rest[1::2], strict=True)
    return [(label, _GUARDED.sub(r"\n\1", body.strip())) for label, body in found]


def _read_action(body: str) -> tuple[ToolCall, ...]:
    try:
        calls = read_calls(body)
    except ParseError as e:
        return (ToolCall(raw=body, error=str(e)),)
    return calls or (ToolCall(raw=body, error="no call after the label Action"),)
