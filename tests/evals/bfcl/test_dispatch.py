from __future__ import annotations

from typing import Any

import pytest

from coalm.errors import ParseError, ToolError
from coalm.evals.bfcl.decode import MAX_CHARS
from coalm.evals.bfcl.dispatch import run_call


def record(*positional: Any, **named: Any) -> tuple[Any, Any]:
    return positional, named


FUNCTIONS = {"f": record, "twice": lambda x: 2 * x}


@pytest.mark.parametrize(
    ("text", "positional", "named"),
    [
        ("f()", (), {}),
        (" \tf (1, b = 'x')", (1,), {"b": "x"}),
        ("f(a=[1, (2, -3)], b={'c': None})", (), {"a": [1, (2, -3)], "b": {"c": None}}),
        ("f(a=1/4 + 2, b='x' + 'y')", (), {"a": 2.25, "b": "xy"}),
        ("f(twice(twice(x=2)), a=[twice(1)])", (8,), {"a": [2]}),
    ],
)
def test_calls(text: str, positional: Any, named: Any) -> None:
    assert run_call(text, FUNCTIONS) == (positional, named)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exit()", "there is no function 'exit'"),
        ("print(f())", "there is no function 'print'"),
        ("__import__('os').getcwd()", "Call is not the call of a function by its name"),
        ("f.__globals__['x']()", "Call is not the call of a function by its name"),
        ("f.__class__", "Attribute is not the call of a function by its name"),
        ("f", "Name is not the call of a function by its name"),
        ("1 + 1", "BinOp is not the call of a function by its name"),
        ("(lambda: 1)()", "Call is not the call of a function by its name"),
        ("f(a=f)", "Name is not allowed as an argument"),
        ("f(a=f.b)", "Attribute is not allowed as an argument"),
        ("f(a=__import__('os'))", "there is no function '__import__'"),
        ("f(a=[x for x in (1,)])", "ListComp is not allowed as an argument"),
        ("f(*[1])", "Starred is not allowed as an argument"),
        ("f(**{'a': 1})", "argument None is given twice or has no name"),
        ("f(a=1, a=2)", "argument 'a' is given twice or has no name"),
        ("f(a={**{}})", "NoneType is not allowed as an argument"),
        (f"f('{'a' * MAX_CHARS}')", f"a call of {MAX_CHARS + 5} characters is over the limit"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ToolError) as caught:
        run_call(text, FUNCTIONS)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("text", ["", "f(", "x = 1", "import os", "f(a=9**9**9)", "f(" * 500])
def test_what_does_not_parse(text: str) -> None:
    with pytest.raises(ParseError):
        run_call(text, FUNCTIONS)
