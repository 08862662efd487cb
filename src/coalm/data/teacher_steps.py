"""What a teacher model is asked about a sample, and how its answer becomes part of the sample.

The teacher sees functions, dialogue and observations, never the thoughts that are in them: so what
it is asked about a step does not depend on what it said about another one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from coalm.data.base import Ledger
from coalm.data.config import TeacherMode
from coalm.data.validate import VIOLATES, Validator
from coalm.engines.base import Completion
from coalm.formats import get_format
from coalm.formats.instructions import Instructions
from coalm.formats.tool_text import signature_list
from coalm.types import ChatTurn, Conversation, Message, Prompt

_FOLDER = Path(__file__).parent / "prompts"
_LONGEST = 600
"""Characters of a thought; ours have at most half as many."""
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


class Unusable(NamedTuple):
    """Why an answer cannot be used."""

    reason: str
    """The same words every time: rejections are counted by it."""
    detail: str = ""


class Steps:
    """One way to ask about steps and to read the answers."""

    def __init__(self, mode: TeacherMode, instructions: Path | None = None) -> None:
        """Take our instruction text of the mode, or a file in its stead.

        Raises:
            FormatError: the file cannot be read or lacks a place to fill.
        """
        self._mode = mode
        self._react = get_format("react")
        file = instructions or _FOLDER / f"{mode}.txt"
        self._instructions = Instructions(mode, ("tools", "dialogue", "step"), file)

    def prompt(self, sample: Conversation) -> Prompt:
        """What the teacher is asked about the last message of a sample."""
        *context, target = sample.messages
        text = self._instructions.fill(
            {
                "tools": signature_list(sample),
                "dialogue": "\n".join(map(self._line, context)),
                "step": self._step(target),
            }
        )
        return (ChatTurn("user", text),)

    def _line(self, message: Message) -> str:
        if message.role == "assistant":
            return self._react.render_reply(message.model_copy(update={"thought": None}))
        label = {"user": "User: ", "tool": "Observation: "}.get(message.role, "")
        return f"{label}{message.content}"

    def _step(self, target: Message) -> str:
        if self._mode == "thoughts":
            return self._line(target)
        if target.tool_calls:
            return "an action that calls " + ", ".join(call.name for call in target.tool_calls)
        return "a reply to the user, not an action"

    def read(self, sample: Conversation, answer: Completion) -> Message | Unusable:
        """The last message as the teacher has it."""
        if answer.finish_reason == "length":
            return Unusable("the answer is cut off at the limit of new tokens")
        said = self._react.parse(answer.text.strip())
        read = _thought if self._mode == "thoughts" else _turn
        message = read(sample.messages[-1], said)
        if isinstance(message, Unusable):
            return message
        thought = message.thought or ""
        if not thought or len(thought) > _LONGEST or "\n" in thought:
            return Unusable("the thought is not one short line", thought[:80])
        return _fault(sample, message) or message


def _thought(target: Message, said: Message) -> Message | Unusable:
    """The message of the data with the teacher's thought."""
    if said.tool_calls or (said.thought and said.content):
        return Unusable("the answer has more than a thought", said.content[:80])
    thought = (said.thought or said.content).strip()
    return target.model_copy(update={"thought": thought})


def _turn(target: Message, said: Message) -> Message | Unusable:
    """The teacher's message, if it takes the step that the data has here."""
    if faults := [call.error for call in said.tool_calls if call.error]:
        return Unusable("the action cannot be read", faults[0])
    names = [[call.name for call in message.tool_calls] for message in (said, target)]
    if names[0] != names[1]:
        return Unusable("the step is another one", f"{names[0]} instead of {names[1]}")
    if bool(said.tool_calls) == bool(said.content):
        return Unusable("the answer is not either an action or a reply", said.content[:80])
    return said


def _fault(sample: Conversation, message: Message) -> Unusable | None:
    *context, target = sample.messages
    changed = sample.model_copy(update={"messages": (*context, message)})
    if violations := Validator(Ledger()).check(changed):
        # in words of its own: what the build's validation rejects may end the build
        reason = f"the answer {VIOLATES} {violations[0].criterion}"
        return Unusable(reason, violations[0].detail)
    # the annotated reply counts as said: it is true, and may write a value in another way
    known = {number for one in (*context, target) for number in _NUMBER.findall(one.content)}
    made_up = [number for number in _NUMBER.findall(message.content) if number not in known]
    return Unusable("the reply has a number that nobody said", made_up[0]) if made_up else None
