"""Dialogue state answers: which domain or intent, and which slots have which values.

A state is held as tool calls, one per domain (name = domain, arguments = slots), and the domains on
offer as tool schemas, so that a state is checked like any call. The model answers::

    System: {"domain": "BookRestaurant", "slot_values": {"city": "Oslo", "timeRange": "noon"}}

with a JSON list of such objects for several domains, and `[]` for none.
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
from coalm.types import Conversation, Message, Prompt, ToolCall, ToolSchema

_LABEL = "System:"


class DstFormat:
    """Renders and parses dialogue state answers (see the module)."""

    name = "dst"
    stop = ("\nUser:",)

    def __init__(self, instructions: Path | None = None) -> None:
        self._instructions = Instructions(self.name, ("context", "count", "tools"), instructions)
        self.version = "1" + self._instructions.suffix

    def render(self, conversation: Conversation) -> Prompt:
        """See `PromptFormat.render`."""
        return one_turn(self.render_alpaca(conversation))

    def render_alpaca(self, conversation: Conversation) -> AlpacaPrompt:
        """See `PromptFormat.render_alpaca`."""
        turn = split_turn(conversation)
        instruction = self._instructions.fill(
            {
                "context": turn.context,
                "count": str(len(conversation.tools)),
                "tools": "\n".join(_domain_line(tool) for tool in conversation.tools),
            }
        )
        spoken = [m for m in (*turn.history, *turn.current) if m.role in ("user", "assistant")]
        return AlpacaPrompt(instruction, "\n".join(_line(message) for message in spoken))

    def render_reply(self, message: Message) -> str:
        """See `PromptFormat.render_reply`; a thought cannot be said in this format."""
        plain_reply(self.name, message)
        if not message.tool_calls:
            reply = unambiguous(message.content, "[]", lambda c: _parse_body(c) == message)
            return f"{_LABEL} {reply}"
        states: list[JsonValue] = [
            {"domain": call.name, "slot_values": call.arguments} for call in message.tool_calls
        ]
        text = write_json(states[0] if len(states) == 1 else states)
        return f"{_LABEL} {message.content}\n{text}" if message.content else f"{_LABEL} {text}"

    def parse(self, text: str) -> Message:
        """See `PromptFormat.parse`; the label may be missing."""
        body = well_formed(text).strip()
        return _parse_body(body.removeprefix(_LABEL).strip())

    def reader(self, *, calls: bool = True) -> Reader:
        """See `PromptFormat.reader`."""
        return HeldReader(self.parse, "S[{") if calls else PlainReader()

    def grammar(
        self,
        tools: Sequence[ToolSchema],
        *,
        must_call: bool = False,
        most_calls: int = MOST_CALLS,
    ) -> str:
        """See `PromptFormat.grammar`; there is no text around the states."""
        grammar, state = json_calls(tools, "domain", "slot_values")
        if not tools:
            return grammar.text(f'"{_LABEL} []"')
        states = grammar.listed(state, "[", "]", most_calls, some=must_call)
        return grammar.text(f'"{_LABEL} " ({state} | {states})')

    def json_grammar(self, schema: Mapping[str, JsonValue]) -> str:
        """See `PromptFormat.json_grammar`."""
        return json_alone(schema)


def _domain_line(tool: ToolSchema) -> str:
    return f"- {tool.name}: {', '.join(tool.properties)}"


def _line(message: Message) -> str:
    return f"{'User' if message.role == 'user' else 'System'}: {message.content.strip()}"


def _parse_body(body: str) -> Message:
    before, _, last = body.rpartition("\n")
    if body.startswith(("{", "[")):
        try:
            return Message(role="assistant", tool_calls=_states(body))
        except ParseError as e:
            problem = str(e)
    else:
        problem = ""
    if before and last.startswith(("{", "[")):
        try:
            return Message(role="assistant", content=before.strip(), tool_calls=_states(last))
        except ParseError as e:
            problem = problem or str(e)
    if problem:
        return Message(role="assistant", tool_calls=(ToolCall(raw=body, error=problem),))
    return Message(role="assistant", content=body)


def _states(text: str) -> tuple[ToolCall, ...]:
    found = read_value(text)
    states = found if isinstance(found, list) else [found]
    return tuple(_state(state) for state in states)


def _state(state: JsonValue) -> ToolCall:
    if not isinstance(state, dict):
        raise ParseError(f"expected a state object, got {state!r:.40}")
    domain, slots = state.get("domain"), state.get("slot_values")
    if not isinstance(domain, str) or not isinstance(slots, dict):
        raise ParseError('a state needs "domain" as text and "slot_values" as an object')
    return ToolCall(name=domain, arguments=slots)
