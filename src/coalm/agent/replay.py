"""Recorded conversations once more: with a model, or with the recorded words and live tools.

A replay says what the user said in the record, turn by turn. `show_changes` tells what came out
otherwise: another model, changed tools, another prompt.
"""

from __future__ import annotations

import difflib
import json

from coalm.agent.react import LIMITS, Limits
from coalm.agent.session import AgentSession
from coalm.engines.scripted import ScriptedEngine
from coalm.errors import FormatError
from coalm.tools import Toolbox
from coalm.types import ChatTurn, Conversation, Message, Prompt


def replay(recorded: Conversation, session: AgentSession) -> Conversation:
    """What becomes of `recorded` when `session` answers it.

    The session's conversation starts anew, with the system messages of the record.

    Raises:
        CoalmError: as `AgentSession.send`.
    """
    system = tuple(message for message in recorded.messages if message.role == "system")
    session.conversation = Conversation(
        id=recorded.id, messages=system, tools=session.toolbox.schemas
    )
    for message in recorded.messages:
        if message.role == "user":
            session.send(message.content)
    return session.conversation


def recorded_session(
    recorded: Conversation, toolbox: Toolbox, limits: Limits = LIMITS
) -> AgentSession:
    """A session without a model: the assistant says what it said in the record, tools run anew."""
    said = [message for message in recorded.messages if message.role == "assistant"]
    engine = ScriptedEngine(str(number) for number in range(len(said)))
    return AgentSession(engine, toolbox, prompt_format=_Record(said), limits=limits)


class _Record:
    """A format in which a completion is the number of a recorded message."""

    name = "record"
    version = "1"
    stop: tuple[str, ...] = ()

    def __init__(self, said: list[Message]) -> None:
        self._said = said

    def render(self, conversation: Conversation) -> Prompt:
        return (ChatTurn("user", conversation.messages[-1].content),)

    def render_reply(self, message: Message) -> str:
        if message not in self._said:
            raise FormatError(f"a message that was not recorded: {message.content[:60]!r}")
        return str(self._said.index(message))

    def parse(self, text: str) -> Message:
        return self._said[int(text)]


def show_changes(before: Conversation, after: Conversation) -> str:
    """The messages of two conversations as a unified diff; empty if they are the same."""
    lines = difflib.unified_diff(
        _lines(before), _lines(after), before.id, after.id, lineterm="", n=2
    )
    return "\n".join(lines)


def _lines(conversation: Conversation) -> list[str]:
    return [
        f"{label}: {line}"
        for message in conversation.messages
        for label, text in _parts(message)
        for line in text.splitlines() or [""]
    ]


def _parts(message: Message) -> list[tuple[str, str]]:
    parts = [("thought", message.thought)] if message.thought is not None else []
    if message.content or not message.tool_calls:
        parts.append((message.role, message.content))
    for call in message.tool_calls:
        arguments = json.dumps(call.arguments, ensure_ascii=False, sort_keys=True)
        text = f"{call.name} {arguments}" if call.error is None else f"unreadable: {call.raw}"
        parts.append(("call", text))
    return parts
