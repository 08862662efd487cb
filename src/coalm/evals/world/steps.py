"""What happened in a dialogue with the mini world's tools, read from its conversation alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from coalm.types import Conversation, ToolCall
from coalm.world.rules import Row

_ROWS = TypeAdapter(list[Row])


class Step(NamedTuple):
    """A call and what came back."""

    turn: int
    """Of the user's turns, counted from 0, the one in which it was made."""
    call: ToolCall
    rows: Sequence[Row]
    """What the tool returned; nothing when it failed."""
    failed: bool


class Turn(NamedTuple):
    """What the user said, and what the agent said in the end."""

    user: str
    reply: str
    """Empty when the agent did not get to answer."""


class Dialogue(NamedTuple):
    """A dialogue taken apart."""

    turns: Sequence[Turn]
    steps: Sequence[Step]


def read_dialogue(conversation: Conversation) -> Dialogue:
    """Turns and steps of a conversation."""
    turns: list[Turn] = []
    steps: list[Step] = []
    waiting: list[ToolCall] = []
    for message in conversation.messages:
        if message.role == "user":
            turns.append(Turn(message.content, ""))
        elif message.role == "assistant" and message.tool_calls:
            waiting = list(message.tool_calls)
        elif message.role == "assistant" and turns:
            turns[-1] = turns[-1]._replace(reply=message.content)
        elif message.role == "tool" and waiting:
            steps.append(_step(len(turns) - 1, waiting.pop(0), message.content))
    return Dialogue(turns, steps)


def _step(turn: int, call: ToolCall, content: str) -> Step:
    rows = rows_of(content)
    return Step(turn, call, rows or (), failed=rows is None)


def rows_of(content: str) -> list[Row] | None:
    """The rows in what a tool of the world returned; None when it did not work."""
    try:
        return _ROWS.validate_json(content)
    except ValidationError:
        return None
