"""Scoring of function calls: Hammer's counters as published, and the same put right.

How alike the texts are is measured by `coalm.evals.metrics`; here they are read as calls.

- `hammer_counters` follows MadeAgents/Hammer, `evaluation/evaluate.py`, quirks included: a gold
  call can be hit any number of times; a right call without arguments adds to the right arguments
  but not to the expected ones, so a perfect file scores above 1; the first gold call of the name
  with anything right hides a better one. That script stops with a Python exception at some rows,
  and then gives no figures at all for the whole file: `Crash` says at which, and with which.
- `fair_counters` reads the prediction by the same strict rule and counts without the quirks: every
  gold call answers for one predicted call, empty values count like others, and what would stop the
  script is a wrong call.

What was asked for, whatever the layout of the text, is compared by `coalm.evals.calls`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import JsonValue

from coalm.evals.calls import Arguments, Call, pair_calls
from coalm.types import ToolCall


class Counters(NamedTuple):
    """What Hammer counts over a file; the counters of its rows add up."""

    gold_api: int
    predict_api: int
    correct_api: int
    gold_param: int
    predict_param: int
    correct_param: int


class Crash(NamedTuple):
    """Hammer's script stops at this row."""

    error: str
    """Name of the Python exception."""


def hammer_counters(prediction: str, label: str) -> Counters | Crash:
    """The six counters that Hammer's script ends with when it is run on this one row."""
    try:
        gold = [_hammer_gold(item) for item in _gold_list(label)]
        items = _predicted_list(prediction)
        calls = None if items is None else [_hammer_call(item) for item in items]
    except _Stopped as stop:
        return Crash(str(stop))
    gold_param = sum(len(_filled(call.arguments)) for call in gold)
    if calls is None:
        return Counters(len(gold), 1, 0, gold_param, 0, 0)
    hits = [[g for g in gold if g.names == call.names] for call in calls]
    return Counters(
        gold_api=len(gold),
        predict_api=len(calls),
        correct_api=sum(map(bool, hits)),
        gold_param=gold_param,
        predict_param=sum(len(_filled(call.arguments)) for call in calls),
        correct_param=sum(map(_hammer_right, calls, hits)),
    )


def hammer_figures(counters: Counters) -> dict[str, float]:
    """Precision, recall and F1 as Hammer's script prints them; 0 to 1, or more by its quirks.

    The three of calls (`_api`) or of arguments (`_param`) are left out when a counter is 0.
    """
    figures: dict[str, float] = {}
    for kind, gold, predicted, correct in (
        ("api", counters.gold_api, counters.predict_api, counters.correct_api),
        ("param", counters.gold_param, counters.predict_param, counters.correct_param),
    ):
        if gold and predicted and correct:
            precision, recall = correct / predicted, correct / gold
            figures[f"P_{kind}"], figures[f"R_{kind}"] = precision, recall
            figures[f"F1_{kind}"] = 2 * precision * recall / (precision + recall)
    return figures


def fair_counters(prediction: str, gold: Sequence[ToolCall]) -> Counters:
    """Hammer's counters without its quirks: a perfect file scores 1, and none scores more."""
    items = _predicted_list(prediction)
    calls = [call for item in items or () if (call := _sound_call(item))]
    pairs = pair_calls(calls, [Call(call.name, call.arguments) for call in gold])
    return Counters(
        gold_api=len(gold),
        predict_api=1 if items is None else len(items),
        correct_api=len(pairs),
        gold_param=sum(len(call.arguments) for call in gold),
        predict_param=sum(len(call.arguments) for call in calls),
        correct_param=sum(len(pair.right) for pair in pairs),
    )


class _HammerCall(NamedTuple):
    names: list[JsonValue]
    """One name of any type, or none: the script forgives a predicted call without a name."""
    arguments: Arguments


class _Stopped(Exception):  # noqa: N818 - the name of an exception that another program raises
    """Hammer's script raises here; the message is the name of its exception."""


def _read(text: str) -> JsonValue:
    """The value that Hammer's script reads from a label or a prediction."""
    try:
        value: JsonValue = json.loads(text.replace("```json", "").replace("```", ""))
    except (ValueError, RecursionError) as e:
        raise _Stopped(type(e).__name__) from e
    if isinstance(value, dict):
        value = value.get("tool_calls", value)
        return [] if value is None else value
    # it looks for "tool_calls" in anything, and takes that as an index when it finds it
    if not isinstance(value, str | list) or "tool_calls" in value:
        raise _Stopped("TypeError")
    return value


def _gold_list(label: str) -> list[JsonValue]:
    gold = _read(label)
    if isinstance(gold, list):
        return gold
    if gold in ("", {}):
        return []
    raise _Stopped("TypeError")


def _predicted_list(prediction: str) -> list[JsonValue] | None:
    """What the prediction lists; None when it is no list, which counts as one wrong call."""
    try:
        found = _read(prediction)
    except _Stopped:
        return None
    return found if isinstance(found, list) else None


def _hammer_call(item: JsonValue) -> _HammerCall:
    if not isinstance(item, dict):
        raise _Stopped("TypeError")
    if "arguments" not in item:
        raise _Stopped("KeyError")
    if not isinstance(arguments := item["arguments"], dict):
        raise _Stopped("AttributeError")
    return _HammerCall([item["name"]] if "name" in item else [], arguments)


def _hammer_gold(item: JsonValue) -> _HammerCall:
    call = _hammer_call(item)
    if not call.names:
        raise _Stopped("KeyError")
    return call


def _filled(arguments: Arguments) -> Arguments:
    return {name: value for name, value in arguments.items() if value != ""}


def _hammer_right(call: _HammerCall, hits: Sequence[_HammerCall]) -> int:
    """Right arguments of a call: those of the first gold call with any."""
    for gold in hits:
        try:
            given, wanted = _texts(call.arguments), _texts(gold.arguments)
        except RecursionError:
            # nested so deep that Python can read but not print it: the script goes on as well
            return 0
        if not gold.arguments:
            right = int(not given)
        else:
            right = sum(given.get(name) == value for name, value in wanted.items())
        if right:
            return right
    return 0


def _texts(arguments: Arguments) -> dict[str, str]:
    return {name: str(value) for name, value in _filled(arguments).items()}


def _sound_call(item: JsonValue) -> Call | None:
    try:
        call = _hammer_call(item)
    except _Stopped:
        return None
    name = call.names[0] if call.names else None
    return Call(name, call.arguments) if isinstance(name, str) else None
