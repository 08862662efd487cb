"""A simulated user: any model, told the goal of a dialogue in the words that the corpus' user read.

The desk's words are the other side's messages for this model, so its own are what it says next. It
ends the dialogue with a mark, or is ended at a limit of turns.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from functools import cached_property
from pathlib import Path

from coalm.engines import load_engine
from coalm.engines.base import Completion, Engine
from coalm.engines.config import InferConfig
from coalm.errors import ConfigError
from coalm.evals.multiwoz.data import Dialogue
from coalm.types import ChatTurn, Conversation, Prompt, Role

END = "[END]"
"""The user writes it when the dialogue is over."""
INSTRUCTIONS = Path(__file__).parent / "prompts" / "user.txt"
_GREETING = "Information desk, how can I help you?"
_MARKUP = re.compile(r"<[^<>]*>")
_OTHER_SIDE: dict[Role, Role] = {"user": "assistant", "assistant": "user"}
_SPEAKER = re.compile(r"^(user|caller|me)\s*:\s*", re.IGNORECASE)


class SimulatedUser:
    """Says what a user with a goal would say next."""

    def __init__(self, config: InferConfig | None, instructions: Path | None = None) -> None:
        """Prepare a user.

        Args:
            config: model that plays the user; None leaves it to whoever runs the rollout, the model
                under test.
            instructions: text in place of ours, with `{goal}` and `{end}` in it.

        Raises:
            ConfigError: the text cannot be read, or has no place for the goal.
        """
        self._config = config
        path = instructions or INSTRUCTIONS
        try:
            self._text = path.read_text(encoding="utf-8").rstrip()
        except (OSError, UnicodeDecodeError) as e:
            raise ConfigError(f"multiwoz.user_instructions: {path} cannot be read: {e}") from e
        if "{goal}" not in self._text:
            raise ConfigError(f"multiwoz.user_instructions: {path} has no {{goal}} in it; add it")

    def speak(
        self, dialogue: Dialogue, heard: Conversation
    ) -> Generator[Prompt, Completion, str | None]:
        """A rollout that comes to the user's next message; None when the dialogue is over.

        Args:
            dialogue: whose goal the user has.
            heard: what was said aloud so far, ending with the desk's last answer if there is one.

        Raises:
            EngineError: the user's own model cannot answer.
        """
        prompt = self._prompt(dialogue, heard)
        if self._config is None:
            completion = yield prompt
        else:
            completion = self._engine.generate([prompt], self._config.generation.sampling())[0]
        return read_message(completion.text)

    def _prompt(self, dialogue: Dialogue, heard: Conversation) -> Prompt:
        wishes = "\n".join(f"- {_MARKUP.sub('', sentence)}" for sentence in dialogue.message)
        told = self._text.replace("{goal}", wishes).replace("{end}", END)
        said = [ChatTurn("system", told), ChatTurn("user", _GREETING)]
        for message in heard.messages:
            said.append(
                ChatTurn("assistant" if message.role == "user" else "user", message.content)
            )
        if said[-1].role == "assistant":  # the desk had nothing to say
            said.append(ChatTurn("user", "..."))
        return tuple(said)

    @cached_property
    def _engine(self) -> Engine:
        if self._config is None:
            raise RuntimeError("a user without a model of its own has no engine")
        return load_engine(self._config)


def read_message(text: str) -> str | None:
    """What the user says in a model's answer, its first paragraph; None when the user hangs up."""
    said, _, _ = text.strip().partition("\n\n")
    if END in said:
        return None
    return _SPEAKER.sub("", said.strip()) or None
