"""Function calls in Python notation, the functions in the system turn and every message a turn.

It is the layout of ToolACE's rows and of BFCL's prompts, in our own words: docs are written as
Python prints them, with `dict` for an object. Answers are those of `python_calls`.
"""

from __future__ import annotations

from pydantic import JsonValue

from coalm.formats.base import AlpacaPrompt, split_turn
from coalm.formats.python_calls import PythonCallsFormat, spoken, spoken_line
from coalm.formats.tool_text import names_only
from coalm.types import ChatTurn, Conversation, Prompt, ToolSchema


class SystemCallsFormat(PythonCallsFormat):
    """Renders and parses bracketed Python calls (see the module)."""

    name = "system_calls"

    def render(self, conversation: Conversation) -> Prompt:
        """See `PromptFormat.render`."""
        instruction = self.render_alpaca(conversation).instruction
        said = (message for message in conversation.messages if message.role != "system")
        turns = (ChatTurn(message.role, spoken(message)) for message in said)
        return (ChatTurn("system", instruction), *turns)

    def render_alpaca(self, conversation: Conversation) -> AlpacaPrompt:
        """See `PromptFormat.render_alpaca`; of one message its text alone, of several, lines."""
        turn = split_turn(conversation)
        said = (*turn.history, *turn.current)
        instruction = self._instructions.fill(
            {"context": turn.context, "tools": _docs(conversation)}
        )
        if len(said) == 1:
            return AlpacaPrompt(instruction, spoken(said[0]))
        return AlpacaPrompt(instruction, "\n".join(map(spoken_line, said)))


def _docs(conversation: Conversation) -> str:
    if names_only(conversation):
        return str([{"name": tool.name} for tool in conversation.tools])
    return str([_doc(tool) for tool in conversation.tools])


def _doc(tool: ToolSchema) -> dict[str, JsonValue]:
    parameters: dict[str, JsonValue] = {
        "type": "dict",
        "properties": {name: dict(schema) for name, schema in tool.properties.items()},
        "required": list(tool.required),
    }
    return {"name": tool.name, "description": tool.description, "parameters": parameters}
