"""Function calls as a fenced JSON list, the form of Hammer, xLAM and API-Bank.

The prompt holds four blocks (task, tools, form, query); the model answers::

    ```
    [{"name": "GetWeather", "arguments": {"city": "Oslo"}}]
    ```

and an empty list when no function fits. Words before the block are kept as the message's content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from coalm.errors import ParseError
from coalm.formats.base import AlpacaPrompt, one_turn, plain_reply, split_turn
from coalm.formats.grammar import MOST_CALLS, json_alone, json_calls
from coalm.formats.instructions import Instructions
from coalm.formats.reader import HeldReader, PlainReader, Reader
from coalm.formats.text import read_value, unambiguous, well_formed, write_json
from coalm.formats.tool_text import json_list
from coalm.memo import Memo
from coalm.types import Conversation, Message, Prompt, ToolCall, ToolSchema

_FENCE = "```"


class JsonCallsFormat:
    """Renders and parses fenced JSON calls (see the module)."""

    name = "json_calls"
    stop: tuple[str, ...] = ()

    def __init__(self, instructions: Path | None = None) -> None:
        self._instructions = Instructions(self.name, ("context", "tools"), instructions)
        self.version = "1" + self._instructions.suffix
        self._line = Memo(_query_line)  # all samples of a dialogue have its messages in common

    def render(self, conversation: Conversation) -> Prompt:
        """See `PromptFormat.render`."""
        return one_turn(self.render_alpaca(conversation))

    def render_alpaca(self, conversation: Conversation) -> AlpacaPrompt:
        """See `PromptFormat.render_alpaca`."""
        turn = split_turn(conversation)
        instruction = self._instructions.fill(
            {"context": turn.context, "tools": json_list(conversation)}
        )
        query = "".join(self._line(message) for message in (*turn.history, *turn.current))
        return AlpacaPrompt(instruction, f"[BEGIN OF QUERY]\n{query}\n[END OF QUERY]")

    def render_reply(self, message: Message) -> str:
        """See `PromptFormat.render_reply`; a thought cannot be said in this format."""
        plain_reply(self.name, message)
        if not message.tool_calls:
            empty = f"{_FENCE}\n[]\n{_FENCE}"
            return unambiguous(message.content, empty, lambda c: self.parse(c) == message)
        block = f"{_FENCE}\n{_call_list(message)}\n{_FENCE}"
        return f"{message.content}\n{block}" if message.content else block

    def parse(self, text: str) -> Message:
        """See `PromptFormat.parse`; a bare list or object counts like a fenced one."""
        text = well_formed(text).strip()
        content, body = _split(text)
        if body is None:
            return Message(role="assistant", content=text)
        try:
            return Message(role="assistant", content=content, tool_calls=_calls(body))
        except ParseError as e:
            if not body.startswith(("[", "{")):
                # a fenced block of something else, such as code, is part of the prose
                return Message(role="assistant", content=text)
            failed = ToolCall(raw=body, error=str(e))
            return Message(role="assistant", content=content, tool_calls=(failed,))

    def reader(self, *, calls: bool = True) -> Reader:
        """See `PromptFormat.reader`."""
        return HeldReader(self.parse, "`[{") if calls else PlainReader()

    def grammar(
        self,
        tools: Sequence[ToolSchema],
        *,
        must_call: bool = False,
        most_calls: int = MOST_CALLS,
    ) -> str:
        """See `PromptFormat.grammar`; there is no text around the calls."""
        grammar, call = json_calls(tools)
        calls = '"[]"'
        if tools:
            calls = grammar.listed(call, "[", "]", most_calls, some=must_call)
        return grammar.text(f'"{_FENCE}\\n" {calls} "\\n{_FENCE}"')

    def json_grammar(self, schema: Mapping[str, JsonValue]) -> str:
        """See `PromptFormat.json_grammar`."""
        return json_alone(schema)


def _query_line(message: Message) -> str:
    if message.role == "tool":
        return f"->{message.content.strip()}\n"
    if message.role == "user":
        return f"User: {message.content.strip()}\n"
    said = f"AI: {message.content.strip()}\n" if message.content else ""
    calls = f"API-Request: {_FENCE}{_call_list(message)}{_FENCE}" if message.tool_calls else ""
    return said + calls


def _call_list(message: Message) -> str:
    return write_json([{"name": c.name, "arguments": c.arguments} for c in message.tool_calls])


def _split(text: str) -> tuple[str, str | None]:
    """Prose and the text that should be a call list; None when there is no such text."""
    lines = text.split("\n")
    fences = [at for at, line in enumerate(lines) if line.startswith(_FENCE)]
    if not fences:
        return "", text if text.startswith(("[", "{")) else None
    if lines[-1].strip() == _FENCE and len(fences) > 1:
        start, body = fences[-2], lines[fences[-2] + 1 : -1]
    else:
        # an answer that was cut off, or a fence and its list on one line
        start, body = fences[-1], lines[fences[-1] :]
        first = body[0].removeprefix(_FENCE)
        body[0] = first if first.startswith(("[", "{")) else ""
        body[-1] = body[-1].removesuffix(_FENCE)
    return "\n".join(lines[:start]).strip(), "\n".join(body).strip()


def _calls(body: str) -> tuple[ToolCall, ...]:
    found = read_value(body)
    if isinstance(found, dict) and "tool_calls" in found:
        found = found["tool_calls"] or []
    return tuple(_call(item) for item in (found if isinstance(found, list) else [found]))


def _call(item: JsonValue) -> ToolCall:
    if not isinstance(item, dict) or not isinstance(name := item.get("name"), str):
        raise ParseError(f'a call needs "name" as text, got {item!r:.40}')
    arguments = item.get("arguments", item.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = read_value(arguments)
    if not isinstance(arguments, dict):
        raise ParseError(f'"arguments" of {name!r:.40} must be an object')
    return ToolCall(name=name, arguments=arguments)
