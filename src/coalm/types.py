"""The records that every part of coalm exchanges: messages, calls, tool schemas, conversations.

A training record, a chat session and an agent's trajectory are one type, `Conversation`. One user
turn with a call reads::

    Message(role="user", content="Find me an Italian place in San Jose")
    Message(role="assistant", thought="I know city and cuisine ...", tool_calls=[ToolCall(...)])
    Message(role="tool", name="FindRestaurants", content='[{"restaurant_name": ...}]')
    Message(role="assistant", thought="I offer the first result.", content="How about ...?")

All types are frozen: a longer conversation is a new one (`Conversation.extended`).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


class ToolCall(BaseModel):
    """One call that the assistant asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    """Tool to call, exactly as the model wrote it; empty when the text did not parse."""
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    """Argument name to value, JSON values only."""
    id: str | None = None
    """Ties the call to the tool message that answers it; None until someone needs it."""
    raw: str | None = None
    """The text as the model emitted it, kept when it did not parse."""
    error: str | None = None
    """Why the text could not be read as a call; None for a good call."""


class ToolSchema(BaseModel):
    """What a model is told about a tool: name, purpose, and parameters as a JSON Schema object.

    Unknown keys are kept: data sets add their own (`response`, `return`, ...), and dropping them
    would change the prompts that published scores were made with.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    description: str = ""
    parameters: dict[str, JsonValue] = Field(
        default_factory=lambda: {"type": "object", "properties": {}}
    )
    """JSON Schema of type object: `properties`, `required`."""

    @property
    def properties(self) -> dict[str, dict[str, JsonValue]]:
        """Parameter name to its schema; empty when the schema names none."""
        found = self.parameters.get("properties")
        if not isinstance(found, dict):
            return {}
        return {k: v if isinstance(v, dict) else {} for k, v in found.items()}

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the parameters that every call must give."""
        found = self.parameters.get("required")
        return tuple(str(name) for name in found) if isinstance(found, list) else ()


class Message(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    content: str = ""
    """What the other side reads: the user's words, the reply, or a tool's result text."""
    thought: str | None = None
    """ReAct reasoning of the assistant; never shown as user text. None when it had none."""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    """On a tool message: the id of the call it answers."""
    name: str | None = None
    """On a tool message: the tool that was called."""


class Conversation(BaseModel):
    """Messages in order, the tools on offer, and free metadata (source, skill, verdicts)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    messages: tuple[Message, ...] = ()
    tools: tuple[ToolSchema, ...] = ()
    meta: dict[str, JsonValue] = Field(default_factory=dict)

    def extended(self, *messages: Message) -> Conversation:
        """The same conversation with `messages` at its end."""
        return self.model_copy(update={"messages": (*self.messages, *messages)})


class ChatTurn(NamedTuple):
    """One plain role/content message: what a chat template reads."""

    role: Role
    content: str


Prompt: TypeAlias = tuple[ChatTurn, ...]
"""What an engine takes: plain chat that ends where the assistant has to speak."""


class GuidedPrompt(tuple[ChatTurn, ...]):
    """A prompt whose answer has to follow a grammar; see `coalm.formats.grammar`.

    To engines that do not guide it is a plain prompt.
    """

    grammar: str

    def __new__(cls, turns: Prompt, grammar: str) -> GuidedPrompt:
        """`turns` with their grammar."""
        made = super().__new__(cls, turns)
        made.grammar = grammar
        return made
