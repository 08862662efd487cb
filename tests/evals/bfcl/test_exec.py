from __future__ import annotations

from typing import Any

import pytest

from coalm.errors import ToolError
from coalm.evals.bfcl.data import Entry
from coalm.evals.bfcl.exec_check import is_offline, judge_exec, judge_exec_calls
from coalm.evals.bfcl.exec_functions import EXEC_FUNCTIONS
from coalm.evals.bfcl.exec_proxy import judge_by_proxy


def entry(*calls: str, kind: str = "exec_simple", results: str = "exact_match") -> Entry:
    return Entry(f"{kind}_0", [], [], [*calls], result_types=[results] * len(calls))


@pytest.mark.parametrize(
    ("name", "given", "result"),
    [
        ("add_binary_numbers", {"a": "101", "b": "11"}, "1000"),
        ("calc_binomial_probability", {"n": 4, "k": 2, "p": 0.5}, 0.375),
        ("calculate_cosine_similarity", {"vectorA": [1, 0], "vectorB": [2, 0]}, 1.0),
        ("calculate_density", {"mass": 9, "volume": 3}, 3.0),
        ("calculate_displacement", {"initial_velocity": 1, "acceleration": 2, "time": 3}, 12.0),
        ("calculate_electrostatic_potential_energy", {"charge": 2, "voltage": 3}, 6),
        ("calculate_final_velocity", {"initial_velocity": 1, "acceleration": 2, "time": 3}, 7),
        ("calculate_future_value", {"present_value": 100, "interest_rate": 1, "periods": 2}, 400),
        ("calculate_mean", {"numbers": [1, 2, 6]}, 3.0),
        ("calculate_permutations", {"n": 5, "k": 2}, 20.0),
        ("calculate_standard_deviation", {"numbers": [2, 4]}, 1.0),
        ("calculate_triangle_area", {"base": 3, "height": 5}, 7.5),
        ("get_distance", {"pointA": (0, 0), "pointB": (3, 4)}, 5.0),
        ("get_fibonacci_number", {"n": 7}, 8),
        ("get_fibonacci_number", {"n": 1}, 0),
        ("get_fibonacci_number", {"n": 0}, "Input should be a positive integer."),
        ("get_fibonacci_sequence", {"n": 6}, [0, 1, 1, 2, 3, 5]),
        ("get_fibonacci_sequence", {"n": 1}, [0, 1]),
        ("get_prime_factors", {"number": 84}, [2, 2, 3, 7]),
        ("linear_regression", {"x": [1, 2], "y": [3, 5], "point": 4}, 9.0),
        ("mat_mul", {"matA": [[1, 2]], "matB": [[3], [4]]}, [[11]]),
        ("math_factorial", {"n": 5}, 120),
        ("math_gcd", {"a": 12, "b": 18}, 6),
        ("math_lcm", {"a": 4, "b": 6}, 12.0),
        ("maxPoints", {"points": [[0, 0], [1, 1], [2, 2], [0, 1], [0, 5], [0, 9]]}, 4),
        ("maxPoints", {"points": [[0, 0]]}, 1),
        ("order_food", {"item": ["a", "b"], "quantity": [1, 2], "price": [3, 4]}, 11),
        ("polygon_area", {"vertices": [[0, 0], [2, 0], [2, 2], [0, 2]]}, 4.0),
        ("quadratic_roots", {"a": 1, "b": -3, "c": 2}, [2.0, 1.0]),
        (
            "quadratic_roots",
            {"a": 1, "b": 2, "c": 5},
            [{"real": -1.0, "imaginary": 2.0}, {"real": -1.0, "imaginary": -2.0}],
        ),
        ("sort_array", {"array": [2, 3, 1], "reverse": True}, [3, 2, 1]),
    ],
)
def test_functions(name: str, given: dict[str, Any], result: Any) -> None:
    found = EXEC_FUNCTIONS[name](**given)
    assert found == result
    assert type(found) is type(result)


def test_functions_of_money_and_everyday_life() -> None:
    call = EXEC_FUNCTIONS
    assert call["mortgage_calculator"](1200, 0.12, 1) == pytest.approx(106.6185464)
    assert call["geometry_area_circle"](2) == pytest.approx(12.5663706)
    invested = {"initial_investment": 100, "annual_contribution": 10, "years": 2}
    rates = {"annual_return": 0.1, "inflation_rate": [0.1, 0.0]}
    assert call["calculate_investment_value"](**invested, **rates) == pytest.approx(129.9)
    plain = call["calculate_investment_value"](**invested, **rates, adjust_for_inflation=False)
    assert plain == pytest.approx(142)
    needs = call["calculate_nutritional_needs"](80, 180, 30, "male", 1, "lose")
    assert needs["calories"] == pytest.approx(1724.3584)
    assert needs["proteins_g"] == pytest.approx(129.32688)
    room = call["book_room"]("suite", 100, "a", "b", "c", discount_code="DISCOUNT10")
    assert room["total_price"] == 90.0
    assert room["room_number"] == "suite"


def test_a_derivative_is_estimated_from_the_text_of_a_lambda() -> None:
    estimate = EXEC_FUNCTIONS["estimate_derivative"]
    assert estimate("lambda t: 3*t**2 + 2*t", 5) == pytest.approx(32, abs=1e-3)
    for text in ("x**2", "lambda x, y: x", "lambda: 1", "print"):
        with pytest.raises(ToolError, match="is no function of one variable"):
            estimate(text, 5)


@pytest.mark.parametrize(
    "call",
    [
        "math_factorial(n=10**9)",
        "get_fibonacci_sequence(n=10**9)",
        "get_prime_factors(number=1000000007*1000000009)",
        "get_prime_factors(number=2.5)",
        "math_gcd(a=1.0, b=1e999)",
        "calculate_future_value(present_value=1, interest_rate=1e300, periods=9)",
        "estimate_derivative(function='lambda x: __import__(\"os\")', x=1)",
        "polygon_area(vertices=((0, 0), (1, 1), (2, 0)))",
        "calculate_density(mass=1, volume=0)",
        "get_weather_data(coordinates=[1, 2])",
        "math_gcd(1)",
        "open('x', 'w')",
    ],
)
def test_what_cannot_be_computed_is_an_error(call: str) -> None:
    verdict = judge_exec_calls(entry("math_gcd(a=4, b=2)"), [call])
    assert verdict.error_type == "executable_checker:execution_error"


@pytest.mark.parametrize(
    ("reply", "error_type"),
    [
        ("[math_gcd(a=9, b=6)]", None),
        ("[math_gcd(a=6, b=9)]", None),
        ("[math_gcd(a=8, b=6)]", "executable_checker:wrong_result"),
        ("[math_gcd(a=9, b=6), math_gcd(a=9, b=6)]", "simple_exec_checker:wrong_count"),
        ("Three.", "executable_decoder:decoder_failed"),
        (None, "executable_decoder:decoder_failed"),
    ],
)
def test_one_call(reply: object, error_type: str | None) -> None:
    assert judge_exec(entry("math_gcd(a=9, b=6)"), reply).error_type == error_type


@pytest.mark.parametrize(
    ("reply", "error_type"),
    [
        ([{"math_gcd": '{"a": 9, "b": 6}'}], None),
        ([{"math_gcd": {"a": 9, "b": 6}}], None),
        ({"math_gcd": {"a": 9, "b": 6}}, None),
        ([{"math_gcd": "[9, 6]"}], "executable_decoder:decoder_failed"),
        ([{"math_gcd": "{"}], "executable_decoder:decoder_failed"),
        ("Three.", "executable_decoder:decoder_failed"),
        ([], "executable_decoder:wrong_output_format"),
    ],
)
def test_one_call_of_a_function_calling_engine(reply: object, error_type: str | None) -> None:
    verdict = judge_exec(entry("math_gcd(a=9, b=6)"), reply, function_calling=True)
    assert verdict.error_type == error_type


@pytest.mark.parametrize(
    ("calls", "error_type"),
    [
        (["math_lcm(a=4, b=6)", "math_gcd(a=4, b=6)"], None),
        (["math_gcd(a=4, b=6)"], "value_error:exec_result_count"),
        (["math_gcd(a=4, b=6)"] * 2, "executable_checker:cannot_find_match"),
        ([1], "executable_decoder:wrong_output_format"),
    ],
)
def test_calls_in_any_order(calls: list[Any], error_type: str | None) -> None:
    official = entry("math_gcd(a=4, b=6)", "math_lcm(a=4, b=6)", kind="exec_parallel")
    assert judge_exec_calls(official, calls).error_type == error_type


@pytest.mark.parametrize(
    ("results", "call", "error_type"),
    [
        ("real_time_match", "math_factorial(n=5)", "executable_checker:wrong_result_real_time"),
        ("real_time_match", "calculate_mean(numbers=[20, 30])", None),
        (
            "real_time_match",
            "get_prime_factors(number=6)",
            "executable_checker:wrong_result_real_time",
        ),
        ("structural_match", "math_factorial(n=9)", None),
        ("structural_match", "math_lcm(a=1, b=1)", "executable_checker:wrong_result_type"),
    ],
)
def test_lenient_results(results: str, call: str, error_type: str | None) -> None:
    official = entry("math_factorial(n=4)", results=results)
    assert judge_exec_calls(official, [call]).error_type == error_type


def test_the_shape_of_lists() -> None:
    official = entry("get_prime_factors(number=6)", results="structural_match")
    verdict = judge_exec_calls(official, ["get_prime_factors(number=8)"])
    assert verdict.error_type == "executable_checker:wrong_result_type:list_length"


def test_which_entries_are_offline() -> None:
    assert is_offline(entry("math_gcd(a=4, b=6)"))
    assert not is_offline(entry("math_gcd(a=4, b=6)", "get_movie_director(movie_name='x')"))
    assert not is_offline(Entry("rest_0", [], [], "{}"))


@pytest.mark.parametrize(
    ("official", "reply", "error_type"),
    [
        (entry("f(a=[1, 2])"), "[f(a=(1, 2))]", None),
        (entry("f(a=1)", "g(b=2)"), "[g(b=2), f(a=1)]", None),
        (entry("f(a=1)"), "[f(a=2)]", "proxy:other_call"),
        (entry("f(a=1)"), "[f(a=1), f(a=1)]", "proxy:wrong_count"),
        (entry("f(a=1)"), "no", "executable_decoder:decoder_failed"),
        (Entry("rest_0", [], [], "{}"), "[requests.get(url='u')]", None),
        (Entry("rest_0", [], [], "{}"), "[requests.post(url='u')]", "proxy:other_call"),
    ],
)
def test_the_proxy(official: Entry, reply: str, error_type: str | None) -> None:
    assert judge_by_proxy(official, reply).error_type == error_type


def test_the_proxy_for_a_function_calling_engine() -> None:
    rest = Entry("rest_0", [], [], "{}")
    assert judge_by_proxy(rest, [{"requests_get": "{}"}], function_calling=True).valid
