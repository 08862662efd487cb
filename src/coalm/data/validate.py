"""Holds finished samples against the four criteria of the paper's own check.

A `Validator` sees conversations only, never the code that made them:

- `function`: every call names a function on offer;
- `arguments`: names and types of a call's arguments are those of the function's schema;
- `evidence`: every argument value follows from what was said, shown or set by the schema before;
- `thought`: the reasoning agrees with the act that follows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

from coalm.data.base import Ledger
from coalm.errors import ToolError
from coalm.tools import check_arguments
from coalm.types import Conversation, Message, ToolCall, ToolSchema

Criterion = Literal["function", "arguments", "evidence", "thought"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
VIOLATES = "violates the criterion"
"""Opens the reason of every rejection by the validation."""


class Violation(NamedTuple):
    """One thing that is wrong with a sample."""

    criterion: Criterion
    detail: str
    """What exactly, with the value."""


class Validator:
    """Checks the samples of one source and writes into its ledger what it found."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def admits(self, conversation: Conversation) -> bool:
        """Whether a sample is sound; if not, the ledger names it."""
        violations = self.check(conversation)
        for violation in violations:
            self._ledger.violations[violation.criterion] += 1
        if violations:
            criterion, detail = violations[0]
            self._ledger.reject(conversation.id, f"{VIOLATES} {criterion}", detail)
        return not violations

    def check(self, conversation: Conversation) -> list[Violation]:
        """Everything that is wrong with one sample; empty when it is sound."""
        self._ledger.checked["samples"] += 1
        tools = {tool.name: tool for tool in conversation.tools}
        return [
            violation
            for message in conversation.messages
            if message.role == "assistant"
            for violation in self._message(message, tools)
        ]

    def _message(self, message: Message, tools: dict[str, ToolSchema]) -> Iterator[Violation]:
        for call in message.tool_calls:
            self._ledger.checked["calls"] += 1
            yield from _shape(call, tools)


def _shape(call: ToolCall, tools: dict[str, ToolSchema]) -> Iterator[Violation]:
    schema = tools.get(call.name)
    if schema is None:
        yield Violation("function", f"{call.name!r} is not among the functions on offer")
        return
    try:
        fitting = check_arguments(schema, call.arguments)
    except ToolError as e:
        yield Violation("arguments", str(e))
        return
    for name, value in call.arguments.items():
        if fitting[name] != value or type(fitting[name]) is not type(value):
            detail = f"{call.name}: argument {name!r} must be {fitting[name]!r}, got {value!r}"
            yield Violation("arguments", detail)


def validate(conversation: Conversation) -> list[Violation]:
    """Everything that is wrong with one sample, looked at by itself."""
    return Validator(Ledger()).check(conversation)
