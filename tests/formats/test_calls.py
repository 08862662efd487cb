import pytest

from coalm.errors import FormatError, ParseError
from coalm.formats.calls import read_calls, write_call, write_calls
from coalm.types import ToolCall


@pytest.mark.parametrize(
    ("text", "names", "arguments"),
    [
        ("f()", ["f"], [{}]),
        ("[f(a=1)]", ["f"], [{"a": 1}]),
        ("[]", [], []),
        ("", [], []),
        ('[Market Trends API(trend_type="MARKET_INDEXES", country="us")]',
         ["Market Trends API"], [{"trend_type": "MARKET_INDEXES", "country": "us"}]),
        ("a.b.c(x=[1, {'y': (2,)}]), g ( z = 'q' , )",
         ["a.b.c", "g"], [{"x": [1, {"y": [2]}]}, {"z": "q"}]),
        ("f(a=1)\ng(b=2)", ["f", "g"], [{"a": 1}, {"b": 2}]),
        ("9x_.Q(.p1=True)", ["9x_.Q"], [{".p1": True}]),
        ("/v1/users(id=3)", ["/v1/users"], [{"id": 3}]),
    ],
)  # fmt: skip
def test_reads(text: str, names: list[str], arguments: list[dict[str, object]]) -> None:
    calls = read_calls(text)
    assert [call.name for call in calls] == names
    assert [call.arguments for call in calls] == arguments


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("f(1)", "expected '=' at character 3"),
        ("f(a=1", r"expected '\)' at character 5"),
        ("[f(a=1)", "expected a function name at character 7"),
        ("f(a=1, a=2)", "argument 'a' given twice"),
        ("f(a=b)", "expected a value at character 4"),
        ("f(a=g(b=1))", "expected a value at character 4"),
        ("f(a=open('x','w'))", "expected a value at character 4"),
        ("[f()] and more", "text after the calls at character 6"),
        ("hello there", r"expected '\('"),
        ("(f)()", "expected a function name"),
    ],
)
def test_names_the_problem_and_the_place(text: str, problem: str) -> None:
    with pytest.raises(ParseError, match=problem):
        read_calls(text)


def test_writes_double_quotes_and_python_constants() -> None:
    call = ToolCall(name="Book It", arguments={"who": 'Ann "Bee"', "ok": True, "n": None})
    assert (
        write_calls([call, ToolCall(name="g")])
        == r'Book It(who="Ann \"Bee\"", ok=True, n=None), g()'
    )


@pytest.mark.parametrize("name", ["", "f(", "a,b", " f", "f\ng", "a=b"])
def test_a_name_with_notation_signs_cannot_be_written(name: str) -> None:
    with pytest.raises(FormatError, match="cannot be written as a Python-style call"):
        write_call(ToolCall(name=name))
    with pytest.raises(FormatError, match="cannot be written as a Python-style call"):
        write_call(ToolCall(name="f", arguments={name: 1}))
