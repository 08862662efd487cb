from __future__ import annotations

import json

import pytest

from coalm.evals.apibank.score import (
    Counters,
    Crash,
    fair_counters,
    hammer_counters,
    hammer_figures,
)
from coalm.types import ToolCall

ONE = '[{"name": "f", "arguments": {"x": "1", "y": "2"}}]'
NONE = '[{"name": "GetToday", "arguments": {}}]'


def calls(*names_and_arguments: tuple[str, dict[str, object]]) -> str:
    return json.dumps([{"name": n, "arguments": a} for n, a in names_and_arguments])


@pytest.mark.parametrize(
    ("prediction", "label", "counters"),
    [
        (ONE, ONE, (1, 1, 1, 2, 2, 2)),
        (f"```\n{ONE}\n```", ONE, (1, 1, 1, 2, 2, 2)),
        (f"```json\n{ONE}\n```", f"```\n{ONE}\n```", (1, 1, 1, 2, 2, 2)),
        (f'{{"tool_calls": {ONE}}}', ONE, (1, 1, 1, 2, 2, 2)),
        # no list of calls: one wrong call
        (f"```python\n{ONE}\n```", ONE, (1, 1, 0, 2, 0, 0)),
        (f"Sure: {ONE}", ONE, (1, 1, 0, 2, 0, 0)),
        (ONE[1:-1], ONE, (1, 1, 0, 2, 0, 0)),
        ("", ONE, (1, 1, 0, 2, 0, 0)),
        ("null", ONE, (1, 1, 0, 2, 0, 0)),
        ("3", ONE, (1, 1, 0, 2, 0, 0)),
        ('"text"', ONE, (1, 1, 0, 2, 0, 0)),
        ('["tool_calls"]', ONE, (1, 1, 0, 2, 0, 0)),
        ("[" * 100_000, ONE, (1, 1, 0, 2, 0, 0)),
        # no call at all: nothing predicted
        ("[]", ONE, (1, 0, 0, 2, 0, 0)),
        ('{"tool_calls": null}', ONE, (1, 0, 0, 2, 0, 0)),
        # the arguments of a wrong function count as predicted
        (calls(("g", {"x": "1"})), ONE, (1, 1, 0, 2, 1, 0)),
        # values count by their text, empty ones not at all
        (calls(("f", {"x": 1, "y": 2})), ONE, (1, 1, 1, 2, 2, 2)),
        (
            calls(("f", {"x": "", "y": True})),
            calls(("f", {"x": "", "y": "True"})),
            (1, 1, 1, 1, 1, 1),
        ),
        # a gold call is never used up
        (calls(("f", {"x": "1"}), ("f", {"x": "1"})), calls(("f", {"x": "1"})), (1, 2, 2, 1, 2, 2)),
        # a right call without arguments is a right argument, which nobody asked for
        (NONE, NONE, (1, 1, 1, 0, 0, 1)),
        (calls(("GetToday", {"x": ""})), NONE, (1, 1, 1, 0, 0, 1)),
        (calls(("GetToday", {"x": "1"})), NONE, (1, 1, 1, 0, 1, 0)),
        # the first gold call with anything right hides the better one
        (
            calls(("f", {"x": "1", "y": "2"})),
            calls(("f", {"x": "1", "y": "9"}), ("f", {"x": "1", "y": "2"})),
            (2, 1, 1, 4, 2, 1),
        ),
        (
            calls(("f", {"x": "1", "y": "2"})),
            calls(("f", {"x": "8", "y": "9"}), ("f", {"x": "1", "y": "2"})),
            (2, 1, 1, 4, 2, 2),
        ),
        # a predicted call without a name is forgiven, its arguments count
        ('[{"arguments": {"x": "1"}}]', ONE, (1, 1, 0, 2, 1, 0)),
        ("[]", '""', (0, 0, 0, 0, 0, 0)),
        ("[]", "{}", (0, 0, 0, 0, 0, 0)),
        ("[]", '{"tool_calls": null}', (0, 0, 0, 0, 0, 0)),
    ],
)
def test_the_counters_of_hammer(
    prediction: str, label: str, counters: tuple[int, int, int, int, int, int]
) -> None:
    assert hammer_counters(prediction, label) == Counters(*counters)


@pytest.mark.parametrize(
    ("prediction", "label", "error"),
    [
        ('[{"name": "f", "parameters": {}}]', ONE, "KeyError"),
        ('[{"name": "f", "arguments": "x=1"}]', ONE, "AttributeError"),
        ('[{"name": "f", "arguments": null}]', ONE, "AttributeError"),
        ('["f"]', ONE, "TypeError"),
        (f"[{ONE}]", ONE, "TypeError"),
        ("[null]", ONE, "TypeError"),
        # the first broken call decides
        ('[{"name": "f"}, 3]', ONE, "KeyError"),
        ('[3, {"name": "f"}]', ONE, "TypeError"),
        (ONE, "", "JSONDecodeError"),
        (ONE, "f(x='1')", "JSONDecodeError"),
        (ONE, "null", "TypeError"),
        (ONE, "1.5", "TypeError"),
        (ONE, '"f"', "TypeError"),
        (ONE, ONE[1:-1], "TypeError"),
        (ONE, '["tool_calls"]', "TypeError"),
        (ONE, '{"tool_calls": 3}', "TypeError"),
        (ONE, '[{"arguments": {}}]', "KeyError"),
        (ONE, '[{"name": "f"}]', "KeyError"),
        (ONE, '[{"name": "f", "arguments": []}]', "AttributeError"),
        (ONE, "[" * 100_000, "RecursionError"),
        (ONE, "9" * 5000, "ValueError"),
        # the label is read first
        ("[3]", '[{"name": "f"}]', "KeyError"),
    ],
)
def test_where_hammer_s_script_stops(prediction: str, label: str, error: str) -> None:
    assert hammer_counters(prediction, label) == Crash(error)


@pytest.mark.parametrize("depth", range(300, 1000, 10))
def test_a_value_too_deep_to_read_or_print_is_a_wrong_one(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    found = hammer_counters(f'[{{"name": "f", "arguments": {{"x": {deep}}}}}]', ONE)
    assert isinstance(found, Counters)
    assert found.correct_param == 0


def test_figures_are_left_out_when_a_counter_is_zero() -> None:
    assert hammer_figures(Counters(2, 1, 1, 4, 2, 0)) == pytest.approx(
        {"P_api": 1.0, "R_api": 0.5, "F1_api": 2 / 3}
    )
    assert hammer_figures(Counters(0, 0, 0, 0, 0, 0)) == {}


GOLD = [ToolCall(name="f", arguments={"x": "1", "y": ""})]


@pytest.mark.parametrize(
    ("prediction", "counters"),
    [
        (calls(("f", {"x": "1", "y": ""})), (1, 1, 1, 2, 2, 2)),
        (calls(("f", {"x": "1"}), ("f", {"x": "1"})), (1, 2, 1, 2, 2, 1)),
        ("[]", (1, 0, 0, 2, 0, 0)),
        ("text", (1, 1, 0, 2, 0, 0)),
        ('[{"name": "f", "parameters": {}}, 3, {"name": 3, "arguments": {}}]', (1, 3, 0, 2, 0, 0)),
    ],
)
def test_the_counters_without_quirks(
    prediction: str, counters: tuple[int, int, int, int, int, int]
) -> None:
    assert fair_counters(prediction, GOLD) == Counters(*counters)


def test_a_perfect_answer_without_arguments_is_not_more_than_perfect() -> None:
    counters = fair_counters(NONE, [ToolCall(name="GetToday")])
    assert counters == Counters(1, 1, 1, 0, 0, 0)
