"""Any format with a grammar in its prompts, so that engines write calls that fit their tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from coalm.formats.base import AlpacaPrompt, PromptFormat
from coalm.formats.grammar import MOST_CALLS
from coalm.formats.reader import Reader
from coalm.types import Conversation, GuidedPrompt, Message, ToolSchema


class GuidedFormat:
    """A format whose prompts say what an answer may look like."""

    def __init__(self, plain: PromptFormat) -> None:
        self._plain = plain
        self.name = plain.name
        self.version = plain.version
        self.stop = plain.stop

    def render(self, conversation: Conversation) -> GuidedPrompt:
        """See `PromptFormat.render`; the grammar is that of the conversation's tools."""
        prompt = self._plain.render(conversation)
        return GuidedPrompt(prompt, self._plain.grammar(conversation.tools))

    def render_alpaca(self, conversation: Conversation) -> AlpacaPrompt:
        """See `PromptFormat.render_alpaca`."""
        return self._plain.render_alpaca(conversation)

    def render_reply(self, message: Message) -> str:
        """See `PromptFormat.render_reply`."""
        return self._plain.render_reply(message)

    def parse(self, text: str) -> Message:
        """See `PromptFormat.parse`."""
        return self._plain.parse(text)

    def reader(self, *, calls: bool = True) -> Reader:
        """See `PromptFormat.reader`."""
        return self._plain.reader(calls=calls)

    def grammar(
        self,
        tools: Sequence[ToolSchema],
        *,
        must_call: bool = False,
        most_calls: int = MOST_CALLS,
    ) -> str:
        """See `PromptFormat.grammar`."""
        return self._plain.grammar(tools, must_call=must_call, most_calls=most_calls)

    def json_grammar(self, schema: Mapping[str, JsonValue]) -> str:
        """See `PromptFormat.json_grammar`."""
        return self._plain.json_grammar(schema)
