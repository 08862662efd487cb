"""Comparing the calls that a model asked for with those it should have asked for.

Values are the same when they are equal or read the same: labels write numbers as text, so 5 is "5".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from pydantic import JsonValue

from coalm.types import Message, ToolCall

Arguments: TypeAlias = Mapping[str, JsonValue]

_LONGEST = 500
"""Characters of an explanation; models can call any number of functions."""


class Comparison(NamedTuple):
    """What is right and wrong about a predicted list of calls."""

    verdict: str
    """`exact`, `wrong arguments`, `wrong function`, `extra call`, `missing call`, `no call`,
    or `unreadable call`."""
    explanation: str | None
    """What is wrong, in detail."""
    right_function: bool
    """Whether exactly the functions of the label are called, whatever their arguments."""
    arguments: dict[str, bool]
    """`function.argument` of the label to whether its value was given."""


def compare_calls(message: Message, gold: Sequence[ToolCall]) -> Comparison:
    """Compare what the model asked for, as read by a prompt format, with the label."""
    wanted = [Call(call.name, call.arguments) for call in gold]
    calls = [Call(c.name, c.arguments) for c in message.tool_calls if c.error is None]
    pairs = pair_calls(calls, wanted)
    arguments = {f"{call.name}.{name}": False for call in gold for name in call.arguments}
    for pair in pairs:
        arguments |= {f"{pair.gold.name}.{name}": True for name in pair.right}
    broken = next((call.error for call in message.tool_calls if call.error), None)
    verdict, explanation = ("unreadable call", broken) if broken else _judge(calls, wanted, pairs)
    return Comparison(
        verdict,
        explanation and explanation[:_LONGEST],
        verdict in ("exact", "wrong arguments"),
        arguments,
    )


def _judge(
    calls: Sequence[Call], gold: Sequence[Call], pairs: Sequence[Pair]
) -> tuple[str, str | None]:
    if gold and not calls:
        return "no call", None
    called, wanted = Counter(c.name for c in calls), Counter(c.name for c in gold)
    extra = ", ".join((called - wanted).elements())
    missing = ", ".join((wanted - called).elements())
    if called - wanted and wanted - called:
        return "wrong function", f"{extra} instead of {missing}"
    if called != wanted:
        return ("extra call", extra) if called - wanted else ("missing call", missing)
    if wrong := [text for pair in pairs for text in _differences(pair)]:
        return "wrong arguments", "; ".join(wrong)
    return "exact", None


def _differences(pair: Pair) -> Iterator[str]:
    given, wanted = pair.call.arguments, pair.gold.arguments
    for name, value in wanted.items():
        if name not in given:
            yield f"{name} is missing"
        elif name not in pair.right:
            yield f"{name} is {given[name]!r:.60} instead of {value!r:.60}"
    yield from (f"{name} is too much" for name in given if name not in wanted)


class Call(NamedTuple):
    """A call that was read from a text by whatever rule."""

    name: str
    arguments: Arguments


class Pair(NamedTuple):
    """A predicted call and the gold call that it answers for."""

    call: Call
    gold: Call
    right: list[str]
    """Arguments of the gold call that the predicted one gives with the same value."""


def pair_calls(calls: Sequence[Call], gold: Sequence[Call]) -> list[Pair]:
    """Calls and gold calls of the same name, one to one, those with most right arguments first."""
    candidates = [
        (at, gold_at, Pair(call, wanted, _right(call.arguments, wanted.arguments)))
        for at, call in enumerate(calls)
        for gold_at, wanted in enumerate(gold)
        if call.name == wanted.name
    ]
    candidates.sort(key=lambda candidate: -len(candidate[2].right))
    pairs: dict[int, Pair] = {}
    used: set[int] = set()
    for at, gold_at, pair in candidates:
        if at not in used and gold_at not in pairs:
            used.add(at)
            pairs[gold_at] = pair
    return list(pairs.values())


def _right(given: Arguments, wanted: Arguments) -> list[str]:
    return [name for name, value in wanted.items() if name in given and _same(given[name], value)]


def _same(given: JsonValue, wanted: JsonValue) -> bool:
    try:
        return given == wanted or str(given) == str(wanted)
    except RecursionError:
        # nested so deep that Python can read but not print it
        return False
