"""A prompt may end in a thought; the act that it leads to is what has to be answered."""

from __future__ import annotations

import pytest

from coalm.errors import FormatError
from coalm.formats import get_format
from coalm.types import Conversation, Message

ASK = Message(role="user", content="Hi")
THOUGHT = Message(role="assistant", thought="I greet back.")
REPLY = Message(role="assistant", content="Hello.")
WHOLE = Message(role="assistant", thought="I greet back.", content="Hello.")


def alpaca(*messages: Message) -> tuple[str, str]:
    prompt = get_format("react").render_alpaca(Conversation(id="a", messages=messages))
    return prompt.instruction, prompt.input


def test_the_prompt_ends_in_the_thought_and_the_answer_is_the_rest() -> None:
    react = get_format("react")
    assert alpaca(ASK, THOUGHT)[1] == "User: Hi\nThought: I greet back."
    assert react.render_reply(REPLY) == "System: Hello."
    assert react.parse(react.render_reply(THOUGHT)) == THOUGHT


def test_both_halves_read_in_a_history_like_one() -> None:
    assert alpaca(ASK, THOUGHT, REPLY, ASK) == alpaca(ASK, WHOLE, ASK)


@pytest.mark.parametrize("last", [REPLY, WHOLE])
def test_a_whole_message_leaves_nothing_to_answer(last: Message) -> None:
    with pytest.raises(FormatError, match="nothing to answer"):
        alpaca(ASK, last)
