"""Holds finished samples against the four criteria of the paper's own check.

A `Validator` sees conversations only, never the code that made them:

- `function`: every call names a function on offer;
- `arguments`: names and types of a call's arguments are those of the function's schema;
- `evidence`: every argument value rests on something in the conversation (`coalm.data.evidence`);
- `thought`: the reasoning agrees with the act that follows it (`coalm.data.reasoning`).

Every assistant message of a sample is checked, the one to learn and those of its history, for a
false history teaches too; all but those that `meta.slips` names: mistakes that the user corrects,
shown on purpose. The samples of one dialogue follow each other and share their messages;
what was checked in the sample before is not checked again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal, NamedTuple, get_args

from pydantic import JsonValue

from coalm.data.base import Ledger
from coalm.data.evidence import Heard, Marks, marks
from coalm.data.reasoning import call_faults, reply_faults
from coalm.errors import ToolError
from coalm.formats.base import is_open
from coalm.tools import check_arguments
from coalm.types import Conversation, Message, ToolCall, ToolSchema

Criterion = Literal["function", "arguments", "evidence", "thought"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
VIOLATES = "violates the criterion"
"""Opens the reason of every rejection by the validation."""
_EXAMPLES = 3


class Violation(NamedTuple):
    """One thing that is wrong with a sample."""

    criterion: Criterion
    detail: str
    """What exactly, with the value."""


class Validator:
    """Checks the samples of one source and writes into its ledger what it found."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._past = _Past()

    def admits(self, conversation: Conversation) -> bool:
        """Whether a sample is sound; if not, the ledger names it."""
        violations = self.check(conversation)
        for criterion in {violation.criterion for violation in violations}:
            self._ledger.violations[criterion] += 1
        if violations:
            criterion, detail = violations[0]
            self._ledger.reject(conversation.id, f"{VIOLATES} {criterion}", detail)
        return not violations

    def check(self, conversation: Conversation) -> list[Violation]:
        """Everything that is wrong with one sample; empty when it is sound."""
        self._ledger.checked["samples"] += 1
        *context, target = conversation.messages
        view = _View(conversation, self._ledger)
        if not self._past.opens(context, conversation.tools):
            self._past = _Past(conversation.tools)
        past = self._past
        slips = conversation.meta.get("slips")
        wrong = slips if isinstance(slips, list) else []  # on purpose, and the user says so
        for number, message in enumerate(context[len(past.messages) :], len(past.messages)):
            if message is past.target:
                past.violations += past.target_violations
            elif number not in wrong:
                past.violations += view.faults(message, past)
            past.heard.add(message)
            past.messages.append(message)
        past.target = target
        past.target_violations = list(view.faults(target, past))
        return [*past.violations, *past.target_violations]


class _Past:
    """What is known of a dialogue's messages up to the last one that was checked."""

    def __init__(self, tools: Sequence[ToolSchema] = ()) -> None:
        self.tools = tools
        self.messages: list[Message] = []
        self.heard = Heard()
        self.violations: list[Violation] = []
        self.target: Message | None = None
        self.target_violations: list[Violation] = []

    def opens(self, context: Sequence[Message], tools: Sequence[ToolSchema]) -> bool:
        """Whether these messages begin with those that are known, with the same functions."""
        return (
            0 < len(self.messages) <= len(context)
            and all(map(_is, self.messages, context))
            and len(tools) == len(self.tools)
            and all(map(_is, tools, self.tools))
        )


def _is(one: object, other: object) -> bool:
    return one is other


class _View:
    """Looks at the messages of one sample."""

    def __init__(self, conversation: Conversation, ledger: Ledger) -> None:
        self._tools = {tool.name: tool for tool in conversation.tools}
        self._conversation = conversation
        self._ledger = ledger

    def faults(self, message: Message, past: _Past) -> Iterator[Violation]:
        """What is wrong with one message after everything before it.

        A thought that stands alone is held against the message after it.
        """
        heard = past.heard
        before = past.messages[-1] if past.messages else message
        if is_open(before):
            message = message.model_copy(update={"thought": before.thought})
            if message.role != "assistant":
                yield Violation("thought", f"nothing follows the thought {before.thought!r:.80}")
        if message.role != "assistant" or is_open(message):
            return
        marked = marks(self._conversation) if message.tool_calls or message.thought else None
        for call in message.tool_calls:
            self._ledger.checked["calls"] += 1
            yield from self._call_faults(call, heard, marked)
        if message.thought is None:
            return
        self._ledger.checked["thoughts"] += 1
        if message.tool_calls:
            found = call_faults(message, self._tools)
        else:
            found = reply_faults(message, partial(self._holds, message, heard, marked))
        for detail in found:
            yield Violation("thought", detail)

    def _call_faults(
        self, call: ToolCall, heard: Heard, marked: Marks | None
    ) -> Iterator[Violation]:
        schema = self._tools.get(call.name)
        if schema is None:
            yield Violation("function", f"{call.name!r} is not among the functions on offer")
        else:
            yield from _shape_faults(call, schema)
        properties = schema.properties if schema else {}
        for name, value in call.arguments.items():
            kind = heard.find(name, value, properties.get(name, {}), marked)
            self._ledger.checked[f"arguments by {kind}" if kind else "arguments by nothing"] += 1
            if kind is None:
                yield Violation("evidence", f"{call.name}: nobody gave {name} {value!r:.80}")

    def _holds(
        self, reply: Message, heard: Heard, marked: Marks | None, name: str, value: JsonValue
    ) -> bool:
        if heard.find(name, value, {}, marked):
            return True
        said = Heard(heard.today)
        said.add(reply)
        specs = [tool.properties.get(name, {}) for tool in self._tools.values()]
        return any(said.find(name, value, spec, marked) for spec in specs)


def _shape_faults(call: ToolCall, schema: ToolSchema) -> Iterator[Violation]:
    try:
        fitting = check_arguments(schema, call.arguments)
    except ToolError as e:
        yield Violation("arguments", str(e))
        return
    for name, value in call.arguments.items():
        if fitting[name] != value or type(fitting[name]) is not type(value):
            detail = f"{call.name}: argument {name!r} must be {fitting[name]!r}, got {value!r}"
            yield Violation("arguments", detail)


def examples(ledger: Ledger) -> dict[str, list[str]]:
    """Of each criterion that was violated, the first samples that were rejected for it."""
    found: dict[str, list[str]] = {}
    for where, reason, detail in ledger.rejected:
        if reason.startswith(VIOLATES):
            named = found.setdefault(reason.removeprefix(VIOLATES).strip(), [])
            if len(named) < _EXAMPLES:
                named.append(f"{where}: {detail}")
    return found


def validate(conversation: Conversation) -> list[Violation]:
    """Everything that is wrong with one sample, looked at by itself."""
    return Validator(Ledger()).check(conversation)
