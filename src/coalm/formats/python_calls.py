"""Function calls as a bracketed list in Python notation, the form of BFCL and ToolACE.

The model answers `[GetWeather(city="Oslo"), Search(query="fjord", limit=3)]`, and `[]` when
nothing is to be called. Words before the list's line are kept as the message's content; text that
is no such list as a whole is prose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from coalm.errors import ParseError
from coalm.formats.base import AlpacaPrompt, one_turn, plain_reply, split_turn
from coalm.formats.calls import read_calls, write_calls
from coalm.formats.grammar import MOST_CALLS, TEXT_CHARS, json_alone, python_calls
from coalm.formats.instructions import Instructions
from coalm.formats.reader import HeldReader, PlainReader, Reader
from coalm.formats.text import unambiguous, well_formed
from coalm.formats.tool_text import json_list
from coalm.types import Conversation, Message, Prompt, ToolCall, ToolSchema

_CALL_LIKE = re.compile(r"\[\s*[^\s\[\](){}'\"=,][^\[\](){}'\"=,\n]*\(")
_FENCED = re.compile(r"```[a-zA-Z_]*\n(.*?)\n?```", re.DOTALL)

# without brackets and fences no text can be read as a call
_PROSE = rf"""
PROSE: /[^\[(`\s][^\[(`]{{0,{TEXT_CHARS}}}/
"""


class PythonCallsFormat:
    """Renders and parses bracketed Python calls (see the module)."""

    name = "python_calls"
    stop: tuple[str, ...] = ()

    def __init__(self, instructions: Path | None = None) -> None:
        self._instructions = Instructions(self.name, ("context", "tools"), instructions)
        self.version = "1" + self._instructions.suffix

    def render(self, conversation: Conversation) -> Prompt:
        """See `PromptFormat.render`."""
        return one_turn(self.render_alpaca(conversation))

    def render_alpaca(self, conversation: Conversation) -> AlpacaPrompt:
        """See `PromptFormat.render_alpaca`."""
        turn = split_turn(conversation)
        instruction = self._instructions.fill(
            {"context": turn.context, "tools": json_list(conversation)}
        )
        return AlpacaPrompt(
            instruction,
            "\n".join(spoken_line(message) for message in (*turn.history, *turn.current)),
        )

    def render_reply(self, message: Message) -> str:
        """See `PromptFormat.render_reply`; a thought cannot be said in this format."""
        plain_reply(self.name, message)
        if not message.tool_calls:
            return unambiguous(message.content, "[]", lambda c: self.parse(c) == message)
        calls = f"[{write_calls(message.tool_calls)}]"
        return f"{message.content}\n{calls}" if message.content else calls

    def parse(self, text: str) -> Message:
        """See `PromptFormat.parse`; a list inside a code fence counts too."""
        text = well_formed(text).strip()
        fenced = _FENCED.fullmatch(text)
        body = fenced.group(1).strip() if fenced else text
        before, _, last = body.rpartition("\n")
        try:
            return Message(role="assistant", tool_calls=read_calls(body))
        except ParseError as e:
            problem = str(e)
        if before and last.startswith("["):
            try:
                return Message(
                    role="assistant", content=before.strip(), tool_calls=read_calls(last)
                )
            except ParseError:
                pass
        if _CALL_LIKE.match(body):
            return Message(role="assistant", tool_calls=(ToolCall(raw=text, error=problem),))
        return Message(role="assistant", content=text)

    def reader(self, *, calls: bool = True) -> Reader:
        """See `PromptFormat.reader`."""
        return HeldReader(self.parse, "`[") if calls else PlainReader()

    def grammar(
        self,
        tools: Sequence[ToolSchema],
        *,
        must_call: bool = False,
        most_calls: int = MOST_CALLS,
    ) -> str:
        """See `PromptFormat.grammar`; an answer is calls or a text without brackets."""
        grammar, call = python_calls(tools)
        if not tools:
            return grammar.text('"[]" | PROSE') + _PROSE
        calls = grammar.listed(call, "[", "]", most_calls, some=must_call)
        return grammar.text(calls if must_call else f"{calls} | PROSE") + _PROSE

    def json_grammar(self, schema: Mapping[str, JsonValue]) -> str:
        """See `PromptFormat.json_grammar`."""
        return json_alone(schema)


_SPEAKERS = {"tool": "Result", "user": "User", "assistant": "Assistant"}


def spoken_line(message: Message) -> str:
    """A message of a dialogue that is written as lines."""
    return f"{_SPEAKERS[message.role]}: {spoken(message)}"


def spoken(message: Message) -> str:
    """A message as a model has said or read it."""
    said = message.content.strip()
    calls = f"[{write_calls(message.tool_calls)}]" if message.tool_calls else ""
    return " ".join(filter(None, (said, calls)))
