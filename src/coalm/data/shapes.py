"""The shapes in which a sample is written: conversation, Alpaca row, OpenAI-style messages.

One sample as messages, shortened::

    {"messages": [
        {"role": "user", "content": "Find me an Italian place in San Jose"},
        {"role": "assistant", "content": "", "reasoning_content": "I know city and cuisine ...",
         "tool_calls": [{"id": "call_1", "type": "function",
                         "function": {"name": "FindRestaurants", "arguments": {"city": ...}}}]},
        {"role": "tool", "tool_call_id": "call_1", "name": "FindRestaurants", "content": "[...]"},
        ...],
     "tools": [{"type": "function", "function": {"name": ..., "parameters": {...}}}]}

Arguments are objects, as chat templates want them, not text, as OpenAI's endpoint has them.
Everything here is JSON text already: it is written as often as there are files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from coalm.formats import get_format
from coalm.formats.base import PromptFormat
from coalm.formats.text import write_json
from coalm.memo import Memo
from coalm.types import Conversation, Message, ToolSchema


class Shapes(NamedTuple):
    """A sample, each part as JSON text on one line."""

    conversation: str
    instruction: str
    input: str
    output: str
    messages: tuple[str, ...]
    """One text per message."""
    tools: str
    prompt: int
    reply: int
    """Characters of the Alpaca texts."""


class Renderer:
    """Turns samples into their shapes."""

    def __init__(self, instructions: Mapping[str, Path]) -> None:
        """Use the user's instruction texts where there are some.

        Raises:
            FormatError: one of them cannot be used.
        """
        self._formats: dict[str, PromptFormat] = {
            name: get_format(name, path) for name, path in instructions.items()
        }
        # the samples of a dialogue share their history and their tools
        self._message = Memo(_MessageText)
        self._tool = Memo(_tool_text)

    def render(self, conversation: Conversation) -> Shapes:
        """One sample in all shapes.

        Raises:
            FormatError: its format is unknown, or cannot say it.
            PydanticSerializationError: a text in it is no Unicode.
        """
        name = str(conversation.meta["format"])
        if name not in self._formats:
            self._formats[name] = get_format(name)
        prompt_format = self._formats[name]
        *context, target = conversation.messages
        prompt = prompt_format.render_alpaca(
            conversation.model_copy(update={"messages": tuple(context)})
        )
        output = prompt_format.render_reply(target)
        return Shapes(
            conversation.model_dump_json(exclude_defaults=True),
            write_json(prompt.instruction),
            write_json(prompt.input),
            write_json(output),
            tuple(self._messages(conversation)),
            f"[{', '.join(map(self._tool, conversation.tools))}]",
            len(prompt.instruction) + len(prompt.input),
            len(output),
        )

    def versions(self) -> dict[str, str]:
        """Formats that were used, or have an instruction text of the user's, with versions."""
        return {name: self._formats[name].version for name in sorted(self._formats)}

    def _messages(self, conversation: Conversation) -> Iterator[str]:
        """The messages; calls get numbers, and results those of the calls that they answer."""
        calls = results = 0
        for message in conversation.messages:
            results += message.role == "tool"
            yield self._message(message).numbered(results if message.role == "tool" else calls)
            calls += len(message.tool_calls)


class _MessageText:
    """One message as JSON text; where it stands in the dialogue decides only about call ids."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self._text = ""
        self._number = -1

    def numbered(self, number: int) -> str:
        """The text, with `number` calls made before, or answering call `number`."""
        if number != self._number:
            self._text = write_json(openai_message(self._message, number))
            self._number = number
        return self._text


def openai_message(message: Message, number: int = 0) -> dict[str, JsonValue]:
    """A message as chat templates know it; a thought is `reasoning_content`.

    Args:
        message: any one.
        number: how many calls were made before it; on a result, the number of the call, from 1.
    """
    row: dict[str, JsonValue] = {"role": message.role, "content": message.content}
    if message.role == "tool":
        row["tool_call_id"] = message.tool_call_id or f"call_{number}"
        if message.name is not None:
            row["name"] = message.name
    if message.thought is not None:
        row["reasoning_content"] = message.thought
    if message.tool_calls:
        row["tool_calls"] = [
            {
                "id": call.id or f"call_{place}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for place, call in enumerate(message.tool_calls, start=number + 1)
        ]
    return row


def _tool_text(tool: ToolSchema) -> str:
    return write_json(openai_tool(tool))


def openai_tool(tool: ToolSchema) -> dict[str, JsonValue]:
    """A tool as chat templates know it."""
    return {"type": "function", "function": tool.model_dump(mode="json")}
