from __future__ import annotations

import ast
from typing import Any

import pytest

from coalm.errors import ParseError
from coalm.evals.bfcl.arithmetic import compute


def value_of(text: str, **names: Any) -> Any:
    return compute(ast.parse(text, mode="eval").body, names)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 / 6", 1 / 6),
        ("7 // 2 % 2", 1),
        ("-(2 ** 10)", -1024),
        ("~5 + +3", -3),
        ("not 0", True),
        ("1 << 4 | 1 & 3 ^ 2", 19),
        ("64 >> 2", 16),
        ("'a' + 'b' * 2", "abb"),
        ("[1] + [2]", [1, 2]),
        ("(1,) * 2", (1, 1)),
        ("2 ** -1", 0.5),
        ("1j * 1j", -1 + 0j),
    ],
)
def test_arithmetic(text: str, value: Any) -> None:
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


def test_names_have_to_be_given() -> None:
    assert value_of("3 * x ** 2", x=2) == 12
    with pytest.raises(ParseError, match="Name is not constant arithmetic"):
        value_of("3 * y", x=2)


@pytest.mark.parametrize(
    "text",
    [
        "9 ** 9 ** 9",
        "2 ** 100000",
        "1 << 100000",
        "10 ** 4000 * 10 ** 4000",
        "'a' * 10 ** 6",
        "10 ** 6 * [0]",
        "'%99999999d' % 1",
        "1 / 0",
        "1.0 ** 'a'",
        "1e308 ** 9",
        "'a' + 1",
        "-'a'",
        "len('abc') + 1",
        "open('x', 'w').write('y') + 1",
        "().__class__ + 1",
        "[x for x in (1,)] + [1]",
        "f'{1}' + 'a'",
        "[1] @ [2]",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        value_of(text)
