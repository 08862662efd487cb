from __future__ import annotations

from typing import Any

import pytest

from coalm.evals.bfcl.ast_check import check_calls
from coalm.evals.bfcl.categories import CATEGORIES
from coalm.evals.bfcl.verdict import RIGHT, Verdict


def function(name: str = "f", *, required: tuple[str, ...] = (), **types: Any) -> dict[str, Any]:
    """A function doc; `p="array:float"` is a parameter that is an array of floats."""
    properties: dict[str, Any] = {}
    for key, kind in types.items():
        kind, _, item = kind.partition(":")
        properties[key] = {"type": kind, **({"items": {"type": item}} if item else {})}
    return {"name": name, "parameters": {"properties": properties, "required": [*required]}}


def fault(kind: str, value: Any, accepted: list[Any], category: str = "simple") -> str | None:
    """Error type of one value against its accepted ones."""
    calls, answers = [{"f": {"p": value}}], [{"f": {"p": accepted}}]
    return check_calls(calls, [function(p=kind)], answers, CATEGORIES[category]).error_type


@pytest.mark.parametrize(
    ("kind", "value", "accepted", "error_type"),
    [
        ("integer", 5, [5], None),
        ("integer", 5.0, [5], "type_error:simple"),
        ("integer", True, [1], "type_error:simple"),
        ("integer", 6, [5], "value_error:others"),
        ("integer", "x", ["x"], None),
        ("integer", "X", ["x"], "value_error:others"),
        ("float", 5, [5.0], None),
        ("float", 10**400, [5.0], "upstream_crash"),
        ("boolean", 1, [True], "type_error:simple"),
        ("string", "New York,NY", ["new york, ny"], None),
        ("string", "it's", ['it"s'], None),
        ("string", "a:b", ["ab"], "value_error:string"),
        ("string", "-", ["a", ""], None),
        ("string", "5", [5], "value_error:others"),
        ("string", None, [None], None),
        ("any", [1], [[1]], None),
        ("any", 5, ["5"], "type_error:simple"),
        ("array:float", [1, 2], [[1.0, 2.0]], "type_error:nested"),
        ("array:float", [1, 2], [[1, 2]], None),
        ("array:integer", [1], [5], "value_error:others"),
        ("array:integer", [True], [[1]], "type_error:nested"),
        ("array:integer", ["a"], [], "type_error:simple"),
        ("array:integer", [], [[1], ""], None),
        ("array:string", ["A b"], [["ab"]], None),
        ("array:string", ["b", "a"], [["a", "b"]], "value_error:list/tuple"),
        ("array:integer", (1, 2), [[1, 2]], "type_error:simple"),
        ("tuple:integer", (1, 2), [[1, 2]], None),
        ("dict", {"a": "X y"}, [{"a": ["xy"]}], None),
        ("dict", {"a": True}, [{"a": [1]}], None),
        ("dict", {"a": 2}, [{"a": [1]}], "value_error:dict_value"),
        ("dict", {"a": 2}, [{"a": [1], "b": [1]}], "value_error:dict_key"),
        ("dict", {"b": 1}, [{"a": [""]}], "value_error:dict_key"),
        ("dict", {}, [{"a": ["", 1]}], None),
        ("dict", {}, [""], "dict_checker:unclear"),
        ("dict", {"a": "e"}, [{"a": "epoch"}], None),
        ("array:dict", [{"a": 1}], [[{"a": [1]}]], None),
        ("array:dict", [{"a": 1}], [[{"a": [1]}, {"a": [1]}]], "value_error:list_dict_count"),
        ("array:dict", [{"a": 2}], [[{"a": [1]}]], "value_error:dict_value"),
        ("array:dict", ["x"], [[{"a": [1]}], ""], "upstream_crash"),
        ("array:dict", [], [[{"a": [1]}], ""], None),
    ],
)
def test_one_value(kind: str, value: Any, accepted: list[Any], error_type: str | None) -> None:
    assert fault(kind, value, accepted) == error_type


@pytest.mark.parametrize(
    ("kind", "value", "accepted", "category", "error_type"),
    [
        ("integer", "5", [5], "java", None),
        ("integer", 5, [5], "java", "type_error:java"),
        ("long", "5", [5], "java", "type_error:simple"),
        ("any", "5", [5], "java", "value_error:others"),
        ("ArrayList:String", 'new ArrayList<>(Arrays.asList("a"))', [["a"]], "java", None),
        ("float", "5", [5.0], "javascript", None),
        ("float", 5.0, [5.0], "javascript", "type_error:js"),
        ("array:integer", "[1]", [[1]], "javascript", None),
    ],
)
def test_source_values(
    kind: str, value: Any, accepted: list[Any], category: str, error_type: str | None
) -> None:
    assert fault(kind, value, accepted, category) == error_type


F = function(required=("a",), a="integer", b="integer")
ACCEPTED = {"f": {"a": [1], "b": [2, ""]}}


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ({"f": {"a": 1}}, None),
        ({"f": {"b": 2, "a": 1}}, None),
        ({"F": {"a": 1}}, "wrong_func_name"),
        ({"f": {"b": 2}}, "missing_required"),
        ({"f": {"a": 1, "c": 3}}, "unexpected_param"),
        ({"f": {"a": 1, None: 3}}, "unexpected_param"),
    ],
)
def test_one_call(call: Any, fault: str | None) -> None:
    verdict = check_calls([call], [F], [ACCEPTED], CATEGORIES["simple"])
    assert verdict.error_type == (fault and f"simple_function_checker:{fault}")


def test_a_parameter_may_be_left_out_only_if_the_answer_says_so() -> None:
    answer = {"f": {"a": [1], "b": [2]}}
    verdict = check_calls([{"f": {"a": 1}}], [F], [answer], CATEGORIES["simple"])
    assert verdict == Verdict("simple_function_checker:missing_optional", "'b' is not given")


def test_the_doc_decides_on_the_name_and_dots_may_be_underscores() -> None:
    doc, answer = function("m.f", a="integer"), {"other": {"a": [1]}}
    dotted, flat = {"m.f": {"a": 1}}, {"m_f": {"a": 1}}
    for underscores, right, wrong in ((False, dotted, flat), (True, flat, dotted)):
        for call, expected in ((right, True), (wrong, False)):
            verdict = check_calls(
                [call], [doc], [answer], CATEGORIES["simple"], underscores=underscores
            )
            assert verdict.valid is expected


@pytest.mark.parametrize(
    ("category", "error_type"),
    [
        ("simple", "simple_function_checker:wrong_count"),
        ("live_multiple", "multiple_function_checker:wrong_count"),
        ("parallel_multiple", "parallel_function_checker_no_order:wrong_count"),
    ],
)
def test_the_number_of_calls(category: str, error_type: str) -> None:
    calls = [{"f": {"a": 1}}, {"f": {"a": 1}}]
    verdict = check_calls(calls, [F], [ACCEPTED], CATEGORIES[category])
    assert verdict.error_type == error_type


def test_multiple_looks_up_the_expected_function() -> None:
    functions = [function("g", a="string"), F]
    right = check_calls([{"f": {"a": 1}}], functions, [ACCEPTED], CATEGORIES["multiple"])
    wrong = check_calls([{"g": {"a": "1"}}], functions, [ACCEPTED], CATEGORIES["multiple"])
    assert right is RIGHT
    assert wrong.error_type == "simple_function_checker:wrong_func_name"


def test_parallel_calls_are_matched_greedily() -> None:
    both, first = {"f": {"a": [1, 2]}}, {"f": {"a": [1]}}
    calls = [{"f": {"a": 1}}, {"f": {"a": 2}}]
    category = CATEGORIES["parallel"]
    assert check_calls(calls, [F], [first, both], category).valid
    # upstream's habit: the first call is spent on the first answer it fits
    wrong = check_calls(calls, [F], [both, first], category)
    assert wrong.error_type == "parallel_function_checker_no_order:cannot_find_match"


def test_values_nested_too_deeply_are_wrong() -> None:
    value: list[Any] = []
    other: list[Any] = []
    for _ in range(100_000):
        value, other = [value], [other]
    assert fault("array:array", value, [other]) == "upstream_crash"
