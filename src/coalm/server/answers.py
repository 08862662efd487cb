"""From the engine's text to the messages and chunks that OpenAI's clients read.

A whole answer is its stream, joined, so that the two cannot differ.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from coalm.engines.base import Completion, Usage
from coalm.formats.reader import Delta
from coalm.server.questions import Question


class Answering:
    """One answer, as it is written."""

    def __init__(self, question: Question) -> None:
        self._reader = question.reader
        self._most_calls = question.most_calls
        self._calls = 0
        self._given = 0
        self.deltas: list[dict[str, Any]] = []
        """All so far."""
        self.finish_reason: str | None = None
        """None while it is written."""

    def feed(self, event: str | Completion) -> list[dict[str, Any]]:
        """The deltas of a further piece of text, or of the end."""
        if isinstance(event, str):
            self._given += len(event)
            found = [*self._deltas(self._reader.feed(event))]
        else:
            rest = event.text[self._given :]
            found = [*self._deltas(chain(self._reader.feed(rest), self._reader.end()))]
            whole = "tool_calls" if self._calls else "stop"
            self.finish_reason = "length" if event.finish_reason == "length" else whole
        self.deltas += found
        return found

    def _deltas(self, found: Iterable[Delta]) -> Iterator[dict[str, Any]]:
        for delta in _joined(found):
            if delta.kind == "call":
                self._calls += 1
            if delta.kind == "thought":
                yield {"reasoning_content": delta.text}
            elif delta.kind == "content":
                yield {"content": delta.text}
            elif self._calls <= self._most_calls:
                yield {"tool_calls": [self._call(delta)]}

    def _call(self, delta: Delta) -> dict[str, Any]:
        index = self._calls - 1
        if delta.kind == "arguments":
            return {"index": index, "function": {"arguments": delta.text}}
        return {
            "index": index,
            "id": f"call_{secrets.token_hex(12)}",
            "type": "function",
            "function": {"name": delta.text, "arguments": ""},
        }


def _joined(deltas: Iterable[Delta]) -> Iterator[Delta]:
    """Fewer deltas: neighbours that go on with the same text are one."""
    last: Delta | None = None
    for delta in deltas:
        if last and last.kind == delta.kind != "call":
            last = Delta(last.kind, last.text + delta.text)
            continue
        if last:
            yield last
        last = delta
    if last:
        yield last


class Form(NamedTuple):
    """How one of the two kinds of completion is written."""

    prefix: str
    """Of its ids."""
    whole: str
    """The type of a whole answer."""
    chunk: str
    """The type of a part of a stream."""
    field: str
    """Where a request holds what is asked."""
    opening: tuple[dict[str, Any], ...]
    """Deltas before the first one of the answer."""
    part: Callable[[dict[str, Any]], dict[str, Any]]
    """A delta as a part of a stream."""
    message: Callable[[Iterable[dict[str, Any]]], dict[str, Any]]
    """All deltas as a whole answer."""

    def choice(self, answering: Answering) -> dict[str, Any]:
        """A whole answer."""
        message = self.message(answering.deltas)
        return {**message, "logprobs": None, "finish_reason": answering.finish_reason}


def chat_form() -> Form:
    """Of `/v1/chat/completions`."""
    return Form(
        prefix="chatcmpl",
        whole="chat.completion",
        chunk="chat.completion.chunk",
        field="messages",
        opening=({"role": "assistant", "content": ""},),
        part=lambda delta: {"delta": delta},
        message=lambda deltas: {"message": whole_message(deltas)},
    )


def text_form() -> Form:
    """Of `/v1/completions`."""
    return Form(
        prefix="cmpl",
        whole="text_completion",
        chunk="text_completion",
        field="prompt",
        opening=(),
        part=lambda delta: {"text": delta.get("content", "")},
        message=lambda deltas: {"text": "".join(delta["content"] for delta in deltas)},
    )


def whole_message(deltas: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The message that a stream of deltas comes to."""
    texts = {"content": "", "reasoning_content": ""}
    calls: list[dict[str, Any]] = []
    for delta in deltas:
        for name in texts:
            texts[name] += delta.get(name, "")
        for call in delta.get("tool_calls", ()):
            if "id" in call:
                function = dict(call["function"])
                calls.append({"id": call["id"], "type": call["type"], "function": function})
            else:
                calls[-1]["function"]["arguments"] += call["function"]["arguments"]
    content = texts["content"] if texts["content"] or not calls else None
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if texts["reasoning_content"]:
        message["reasoning_content"] = texts["reasoning_content"]
    if calls:
        message["tool_calls"] = calls
    return message


def usage_of(usages: Iterable[Usage]) -> dict[str, int]:
    """Tokens of a request."""
    prompt, completion = (sum(tokens) for tokens in zip(*usages, strict=True))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
