"""What a prompt format is: the one place that knows how a conversation reads as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from pydantic import JsonValue

from coalm.errors import FormatError
from coalm.formats.grammar import MOST_CALLS
from coalm.formats.reader import Reader
from coalm.types import ChatTurn, Conversation, Message, Prompt, ToolSchema


class AlpacaPrompt(NamedTuple):
    """A prompt in two parts, as the published CoALM-IT rows have them."""

    instruction: str
    """Task, tools, form of the answer, and earlier turns where the format has them here."""
    input: str
    """What has to be answered now."""


class Turn(NamedTuple):
    """A conversation taken apart at the user's last message."""

    context: str
    """All system messages, one paragraph each; empty or ending in a blank line."""
    history: Sequence[Message]
    """Everything before the user's last message."""
    current: Sequence[Message]
    """The user's last message and what followed it; everything, if the user said nothing."""


def split_turn(conversation: Conversation) -> Turn:
    """Take `conversation` apart for rendering.

    Raises:
        FormatError: there is nothing to answer.
    """
    spoken = [message for message in conversation.messages if message.role != "system"]
    if not spoken or (spoken[-1].role == "assistant" and not is_open(spoken[-1])):
        raise FormatError(
            f"conversation {conversation.id!r} does not end with a user or tool message, "
            "so there is nothing to answer"
        )
    context = "".join(
        f"{message.content.strip()}\n\n"
        for message in conversation.messages
        if message.role == "system"
    )
    users = [at for at, message in enumerate(spoken) if message.role == "user"]
    start = users[-1] if users else 0
    return Turn(context, spoken[:start], spoken[start:])


def is_open(message: Message) -> bool:
    """Whether it is a thought alone, with the act that it leads to still to come."""
    return message.thought is not None and not message.content and not message.tool_calls


def one_turn(prompt: AlpacaPrompt) -> Prompt:
    """The prompt as a single user turn."""
    return (ChatTurn("user", f"{prompt.instruction}\n\n{prompt.input}"),)


def plain_reply(format_name: str, message: Message) -> None:
    """Refuse what a format of bare answers cannot say.

    Raises:
        FormatError: the message is not the assistant's, has a thought, or a call without a name.
    """
    if message.role != "assistant":
        raise FormatError(f"only an assistant's message is a reply, got role {message.role!r}")
    if message.thought is not None:
        raise FormatError(f"{format_name} has no place for a thought: {message.thought!r:.40}")
    for call in message.tool_calls:
        if call.error is not None:
            raise FormatError(f"call that did not parse cannot be rendered: {call.raw!r:.40}")


class DialogueFormat(Protocol):
    """Renders conversations for a model and reads what the model answers.

    The contract, held by property tests: for every assistant message without outer white space in
    its texts, `parse(render_reply(message)) == message`. `parse` takes any text at all: what is not
    of the form comes back as a message whose `ToolCall.error` says why.
    """

    @property
    def name(self) -> str:
        """Key of the format in `FORMATS`."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the rendered text changes; written into every result."""
        ...

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts at which generation must end, because what follows is not the model's to say."""
        ...

    def render(self, conversation: Conversation) -> Prompt:
        """The chat that ends where the assistant has to speak next.

        Raises:
            FormatError: the conversation holds something the format cannot say.
        """
        ...

    def render_reply(self, message: Message) -> str:
        """The text that the model should answer, for training and for histories.

        Raises:
            FormatError: the message is not the assistant's, or holds what the format cannot say.
        """
        ...

    def parse(self, text: str) -> Message:
        """The assistant message that `text` stands for; never raises on model text."""
        ...


class PromptFormat(DialogueFormat, Protocol):
    """A format for everything: dialogues, training rows, streams and guided calls."""

    def render_alpaca(self, conversation: Conversation) -> AlpacaPrompt:
        """The same text as `render`, as the instruction and input of an Alpaca row."""
        ...

    def reader(self, *, calls: bool = True) -> Reader:
        """Reads one answer while it is written.

        Args:
            calls: Whether there are calls; otherwise everything but a thought is a reply.
        """
        ...

    def grammar(
        self,
        tools: Sequence[ToolSchema],
        *,
        must_call: bool = False,
        most_calls: int = MOST_CALLS,
    ) -> str:
        """What an answer may look like so that its calls can be read and fit the tools on offer.

        See `coalm.formats.grammar`. Text around calls stays free.

        Args:
            tools: On offer.
            must_call: There has to be a call; needs a tool.
            most_calls: Of one answer.

        Raises:
            FormatError: the format cannot write the name of a tool or of a parameter.
        """
        ...

    def json_grammar(self, schema: Mapping[str, JsonValue]) -> str:
        """What an answer may look like whose reply is JSON that fits a JSON Schema."""
        ...
