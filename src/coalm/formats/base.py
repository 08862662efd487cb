"""What a prompt format is: the one place that knows how a conversation reads as text."""

from __future__ import annotations

from typing import Protocol

from coalm.types import Conversation, Message, Prompt


class PromptFormat(Protocol):
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
