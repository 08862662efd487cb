"""Each habit of the official scorer, kept and switched off, by cases that tell the two apart."""

from __future__ import annotations

from typing import Any

import pytest

from coalm import assets
from coalm.errors import ParseError
from coalm.evals.bfcl.ast_check import check_calls
from coalm.evals.bfcl.categories import CATEGORIES
from coalm.evals.bfcl.data import ASSET, Entry, load_category
from coalm.evals.bfcl.decode import decode
from coalm.evals.bfcl.exec_check import judge_exec
from coalm.evals.bfcl.quirks import COMPAT, STRICT, Quirks
from coalm.evals.bfcl.single_turn import judge_reply
from coalm.evals.bfcl.state_check import MAX_STEPS, judge_calls

NONE = "cannot be read"
wheel = pytest.mark.skipif(
    not assets.state(ASSET).present, reason=f"the asset {ASSET} is not on this machine"
)


def without(quirk: str) -> Quirks:
    return COMPAT._replace(**{quirk: False})


def read(text: str, quirks: Quirks, language: Any = "Python") -> object:
    try:
        return decode(text, language, quirks)
    except ParseError:
        return NONE


@pytest.mark.parametrize(
    ("quirk", "text", "kept", "gone"),
    [
        ("layout", "[\n f(a=1),\n g()]", NONE, [{"f": {"a": 1}}, {"g": {}}]),
        ("layout", "```python\n[f(a=1)]\n```", NONE, [{"f": {"a": 1}}]),
        ("layout", " [f(a=1)]\n", [{"f": {"a": 1}}], [{"f": {"a": 1}}]),
        ("layout", "[]", NONE, []),
        ("layout", "f(a=1)", [{"f": {"a": 1}}], NONE),
        ("layout", "['f(a=1)']", [{"f": {"a": 1}}], NONE),
        ("layout", "[[f(a=1)]]", [{"f": {"a": 1}}], NONE),
        ("layout", "(f(a=1),)", [{"f": {"a": 1}}], NONE),
        ("layout", "Sure: [f(a=1)]", NONE, NONE),
        ("arguments", "[f(1, a=2)]", [{"f": {"a": 2}}], NONE),
        ("arguments", "[f(a=1, a=2)]", [{"f": {"a": 2}}], NONE),
        ("arguments", "[f(**a)]", [{"f": {None: "a"}}], NONE),
        ("arguments", "[a[0].c(b=1)]", [{"c": {"b": 1}}], NONE),
        ("words", "[f(a=true)]", [{"f": {"a": "true"}}], NONE),
        ("words", "[f(a=g())]", [{"f": {"a": "g()"}}], NONE),
        ("words", "[f(a=g(b=1))]", [{"f": {"a": {"g": {"b": 1}}}}], NONE),
        ("words", "[f(a=b[0])]", [{"f": {"a": "b[0]"}}], NONE),
        ("words", "[f(a=...)]", [{"f": {"a": "..."}}], NONE),
        ("signs", "[f(a=+5)]", [{"f": {"a": -5}}], [{"f": {"a": 5}}]),
        ("signs", "[f(a=not True)]", [{"f": {"a": -1}}], [{"f": {"a": False}}]),
        ("signs", "[f(a=-(1))]", [{"f": {"a": -1}}], [{"f": {"a": -1}}]),
        ("signs", "[f(a=--1)]", NONE, [{"f": {"a": 1}}]),
    ],
)
def test_what_a_reply_decodes_to(quirk: str, text: str, kept: Any, gone: Any) -> None:
    assert read(text, COMPAT) == kept
    assert read(text, without(quirk)) == gone


def test_java_is_counted_in_characters() -> None:
    text = "[f(a='é', b='xy')]"
    assert read(text, COMPAT, "Java") != [{"f": {"a": "é", "b": "xy"}}]
    assert read(text, without("java_bytes"), "Java") == [{"f": {"a": "é", "b": "xy"}}]


def doc(**parameters: Any) -> dict[str, Any]:
    return {"name": "f", "parameters": {"properties": parameters, "required": []}}


def fault(
    quirks: Quirks, parameter: dict[str, Any], value: Any, accepted: Any, category: str = "simple"
) -> str | None:
    answer = {"f": {} if accepted is None else {"p": accepted}}
    calls, functions = [{"f": {"p": value}}], [doc(p=parameter)]
    return check_calls(calls, functions, [answer], CATEGORIES[category], quirks=quirks).error_type


FLOATS = {"type": "array", "items": {"type": "float"}}
INTEGERS = {"type": "array", "items": {"type": "integer"}}
UNEXPECTED = "simple_function_checker:unexpected_param"


@pytest.mark.parametrize(
    ("quirk", "parameter", "value", "accepted", "kept", "gone"),
    [
        ("defaults", {"type": "integer", "default": 5}, 5, None, UNEXPECTED, None),
        ("defaults", {"type": "integer", "default": 5}, 6, None, UNEXPECTED, "value_error:others"),
        ("defaults", {"type": "integer"}, 5, None, UNEXPECTED, UNEXPECTED),
        ("defaults", {"type": "dict", "default": {"a": 1}}, {"a": 1}, None, UNEXPECTED, None),
        ("blanks", {"type": "string"}, "-", ["x", ""], None, "value_error:string"),
        ("blanks", {"type": "string"}, "", ["x", ""], None, None),
        ("item_types", FLOATS, [1, 2.5], [[1.0, 2.5]], "type_error:nested", None),
        ("item_types", FLOATS, [True, 2.5], [[1.0, 2.5]], "type_error:nested", "type_error:nested"),
        ("item_types", INTEGERS, [1.0], [[1]], "type_error:nested", "type_error:nested"),
        ("truth", {"type": "dict"}, {"a": True}, [{"a": [1]}], None, "value_error:dict_value"),
        ("truth", {"type": "dict"}, {"a": [1, True]}, [{"a": [[1, True]]}], None, None),
        (
            "truth",
            {"type": "dict"},
            {"a": {"b": 0}},
            [{"a": [{"b": False}]}],
            None,
            "value_error:dict_value",
        ),
        ("letters", {"type": "dict"}, {"a": "e"}, [{"a": "ex"}], None, "value_error:dict_value"),
        ("letters", {"type": "dict"}, {"a": "ex"}, [{"a": "ex"}], "value_error:dict_value", None),
    ],
)
def test_how_a_value_is_compared(
    quirk: str, parameter: Any, value: Any, accepted: Any, kept: Any, gone: Any
) -> None:
    assert fault(COMPAT, parameter, value, accepted) == kept
    assert fault(without(quirk), parameter, value, accepted) == gone


@pytest.mark.parametrize(
    ("text", "accepted", "kept", "gone"),
    [
        ("5", [5], "value_error:others", None),
        ("null", [None], "value_error:others", None),
        ("true", [True], "value_error:others", None),
        ("6", [5], "value_error:others", "value_error:others"),
        ("5", ["5"], None, None),
    ],
)
def test_java_values_of_any_type(text: str, accepted: Any, kept: Any, gone: Any) -> None:
    any_type = {"type": "any"}
    assert fault(COMPAT, any_type, text, accepted, "java") == kept
    assert fault(without("java_any"), any_type, text, accepted, "java") == gone


def test_right_calls_in_another_order_need_no_luck() -> None:
    answers = [{"f": {"p": [1, 2]}}, {"f": {"p": [1]}}]
    functions = [doc(p={"type": "integer"})]

    def judge(first: int, second: int, quirks: Quirks) -> bool:
        calls = [{"f": {"p": first}}, {"f": {"p": second}}]
        return check_calls(calls, functions, answers, CATEGORIES["parallel"], quirks=quirks).valid

    assert (judge(2, 1, COMPAT), judge(1, 2, COMPAT)) == (True, False)
    assert (judge(2, 1, STRICT), judge(1, 2, STRICT)) == (True, True)
    assert not judge(2, 2, STRICT)


@pytest.mark.parametrize(
    ("reply", "gone"),
    [
        ("I cannot do that with f.", None),
        ("[f(a=1", "irrelevance_error:broken_call"),
        ('{"name": "f", "arguments": {}}', "irrelevance_error:broken_call"),
        ("pdf (a file)", None),
    ],
)
def test_a_broken_call_is_no_refusal(reply: str, gone: str | None) -> None:
    entry = Entry("irrelevance_0", [], [doc()], {})
    assert judge_reply(entry, reply).error_type is None
    assert judge_reply(entry, reply, quirks=without("garbage")).error_type == gone


def test_a_relevant_call_is_one_of_what_is_on_offer() -> None:
    entry = Entry("live_relevance_0-0-0", [], [doc()], {})
    assert judge_reply(entry, "[f()]", quirks=STRICT).valid
    assert judge_reply(entry, "[g()]").valid
    found = judge_reply(entry, "[g()]", quirks=STRICT)
    assert found.error_type == "relevance_error:unknown_function"


@wheel
def test_a_call_in_a_silent_turn() -> None:
    entry = next(e for e in load_category("multi_turn_miss_param") if [] in e.answer)
    turns = [[list(calls)] if calls else [] for calls in entry.answer]
    assert judge_calls(entry, turns, STRICT).valid
    silent = entry.answer.index([])
    turns[silent] = [["a_function_that_is_not_there()"]]
    assert judge_calls(entry, turns).valid
    found = judge_calls(entry, turns, without("silence"))
    assert found.error_type == "multi_turn:irrelevance_error:decoder_success"


@wheel
def test_a_dialogue_given_up_in_its_last_turn() -> None:
    entry = load_category("multi_turn_base")[0]
    turns = [[list(calls)] for calls in entry.answer]
    turns[-1] = [*turns[-1], *[["pwd()"]] * MAX_STEPS]
    assert judge_calls(entry, turns).valid
    found = judge_calls(entry, turns, without("last_turn"))
    assert found.error_type == "multi_turn:force_terminated"
    assert judge_calls(entry, [*turns[:-1], turns[-1][:-1]], STRICT).valid


def test_executable_replies_are_read_strictly_too() -> None:
    entry = Entry("exec_simple_0", [], [], ["math_gcd(a=4, b=2)"], result_types=["exact_match"])
    assert judge_exec(entry, "math_gcd(a=4, b=2)").valid
    assert not judge_exec(entry, "math_gcd(a=4, b=2)", quirks=STRICT).valid
    assert judge_exec(entry, "[\nmath_gcd(a=4, b=2)\n]", quirks=STRICT).valid


def test_every_quirk_is_told() -> None:
    assert COMPAT != STRICT
    assert len({*COMPAT}) == len({*STRICT}) == 1
