"""The ReAct loop: think, act, observe, think again, reply.

One user turn is one rollout. Whatever the model writes, the turn ends: with a reply, or at a limit,
which the conversation's metadata then holds. An action that cannot be read, an unknown tool, wrong
arguments and a tool that fails or hangs are all observations, so that the model can do better.

Where a turn stands is read from the conversation alone; a turn that was cut off, even between a
call and its result, goes on from where its conversation was saved. Only the counts of seconds and
tokens then begin anew.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from pydantic import JsonValue

from coalm.agent.rollout import Rollout
from coalm.formats.base import DialogueFormat
from coalm.tools import Toolbox
from coalm.types import Conversation, Message, ToolCall

StopReason: TypeAlias = Literal[
    "max_steps", "max_repeats", "max_seconds", "max_tokens", "length", "interrupted", "error"
]
"""Why a turn ended without a whole reply. `length`: the reply is there, cut off where the engine's
limit of new tokens or the context ended. The last two are for whoever drives the rollout."""
Watcher: TypeAlias = Callable[[Conversation], None]
"""Told about the conversation whenever a message has been added to it."""


class Limits(NamedTuple):
    """When a turn is ended although the model has not replied."""

    max_steps: int = 10
    """The model has spoken so often in this turn."""
    max_repeats: int = 3
    """It has made one and the same call, read or unreadable, so often in this turn."""
    max_calls: int = 32
    """Calls of one action that are run; those beyond get an error as their result."""
    max_seconds: float | None = None
    """So much time has passed since the turn began. Calls that run then get an error as result (but
    tools without a time limit of their own are waited for), and an answer is not broken off."""
    max_tokens: int | None = None
    """The model has written so many tokens in this turn; the last answer may go beyond."""


LIMITS = Limits()


def user_turn(
    conversation: Conversation,
    prompt_format: DialogueFormat,
    toolbox: Toolbox,
    limits: Limits = LIMITS,
    watch: Watcher = lambda conversation: None,
) -> Rollout:
    """Answer the user's last message: run tools until the model replies or a limit is reached.

    Returns the conversation with everything that was said and observed. `stop_reason` tells whether
    it ended at a limit.

    Raises:
        FormatError: the format cannot say what is in the conversation.
    """
    meter = _Meter(limits)
    for observation in _lost_observations(conversation, "the program was stopped"):
        watch(conversation := conversation.extended(observation))
    while (reason := _limit_reached(conversation, limits) or meter.limit_reached()) is None:
        completion = yield prompt_format.render(as_prompted(conversation))
        meter.tokens += completion.usage.completion_tokens
        reply = prompt_format.parse(completion.text)
        watch(conversation := conversation.extended(reply))
        if not reply.tool_calls:
            cut = completion.finish_reason == "length"
            return end_turn(conversation, "length") if cut else conversation
        for observation in _observations(reply, toolbox, limits.max_calls, meter.seconds_left()):
            watch(conversation := conversation.extended(observation))
    return end_turn(conversation, reason)


@dataclass
class _Meter:
    """What a turn has used up that its messages do not show."""

    limits: Limits
    tokens: int = 0
    started: float = field(default_factory=time.monotonic)

    def seconds_left(self) -> float | None:
        if self.limits.max_seconds is None:
            return None
        return max(0.0, self.started + self.limits.max_seconds - time.monotonic())

    def limit_reached(self) -> StopReason | None:
        if self.seconds_left() == 0:
            return "max_seconds"
        most = self.limits.max_tokens
        return "max_tokens" if most is not None and self.tokens >= most else None


def _observations(
    action: Message, toolbox: Toolbox, most: int, seconds: float | None
) -> Iterator[Message]:
    yield from toolbox.execute_all(action.tool_calls[:most], seconds)
    for call in action.tool_calls[most:]:
        yield _no_result(call, f"not run: one action may hold at most {most} calls")


def end_turn(
    conversation: Conversation, reason: StopReason, detail: str | None = None
) -> Conversation:
    """End a turn that has no whole reply: every call gets a result, and the reason is recorded.

    The record is a list under the key `stops` of the metadata, one entry per turn that ended so:
    `{"after": number of messages, "reason": "max_steps"}`, with the `detail` if there is one.
    """
    whole = conversation.extended(*_lost_observations(conversation, "the turn was interrupted"))
    stops = whole.meta.get("stops")
    stop: dict[str, JsonValue] = {"after": len(whole.messages), "reason": reason}
    if detail is not None:
        stop["detail"] = detail
    meta = {**whole.meta, "stops": [*(stops if isinstance(stops, list) else []), stop]}
    return whole.model_copy(update={"meta": meta})


def stop_reason(conversation: Conversation) -> str | None:
    """Why the last turn ended without a whole reply; None if it did not."""
    stops = conversation.meta.get("stops")
    last = stops[-1] if isinstance(stops, list) and stops else None
    if isinstance(last, dict) and last.get("after") == len(conversation.messages):
        return str(last.get("reason"))
    return None


def is_open(conversation: Conversation) -> bool:
    """Whether the last turn still waits for the model, because something cut it off."""
    if not conversation.messages or stop_reason(conversation):
        return False
    last = conversation.messages[-1]
    return last.role in ("user", "tool") or bool(last.tool_calls)


def _turn(conversation: Conversation) -> Sequence[Message]:
    """The messages after the user's last one."""
    for at in range(len(conversation.messages), 0, -1):
        if conversation.messages[at - 1].role == "user":
            return conversation.messages[at:]
    return conversation.messages


def _limit_reached(conversation: Conversation, limits: Limits) -> StopReason | None:
    said = [message for message in _turn(conversation) if message.role == "assistant"]
    calls = Counter(_key(call) for message in said for call in message.tool_calls)
    if max(calls.values(), default=0) >= limits.max_repeats:
        return "max_repeats"
    return "max_steps" if len(said) >= limits.max_steps else None


def _key(call: ToolCall) -> str:
    if call.error is not None:
        return call.raw or ""
    return json.dumps([call.name, call.arguments], sort_keys=True)


def _lost_observations(conversation: Conversation, cause: str) -> list[Message]:
    """Results for the calls at the end that have none: whether those tools ran is not known."""
    for answered, message in enumerate(reversed(conversation.messages)):
        if message.role != "tool":
            calls = message.tool_calls[answered:]
            return [_no_result(call, f"no result: {cause}") for call in calls]
    return []


def _no_result(call: ToolCall, why: str) -> Message:
    content = json.dumps({"error": why})
    return Message(role="tool", content=content, name=call.name, tool_call_id=call.id)


def as_prompted(conversation: Conversation) -> Conversation:
    """The conversation without the calls that could not be read; their observations stay.

    No format can write such a call, and a model copies what it has before it.
    """
    kept: list[Message] = []
    for message in conversation.messages:
        good = tuple(call for call in message.tool_calls if call.error is None)
        if good != message.tool_calls:
            message = message.model_copy(update={"tool_calls": good})
            if not good and not message.content:
                continue
        kept.append(message)
    return conversation.model_copy(update={"messages": tuple(kept)})
