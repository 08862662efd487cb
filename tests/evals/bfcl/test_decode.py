from __future__ import annotations

from typing import Any

import pytest

from coalm.errors import ParseError
from coalm.evals.bfcl.decode import (
    MAX_CHARS,
    TooLargeError,
    decode,
    decode_fc,
    fc_call_strings,
    is_call_list,
    to_call_strings,
)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("[f(a=1), g.h(b='x')]", [{"f": {"a": 1}}, {"g.h": {"b": "x"}}]),
        ("f(a=1)", [{"f": {"a": 1}}]),
        ("```\n[f(a=1)]\n```", [{"f": {"a": 1}}]),
        ("['f(a=1)']", [{"f": {"a": 1}}]),
        ("[[f(a=1)]]", [{"f": {"a": 1}}]),
        ("(f(), g())", [{"f": {}}, {"g": {}}]),
        ("{f(a=1)}", [{"f": {"a": 1}}]),
        ("f(1, 2, c=3)", [{"f": {"c": 3}}]),
        ("f(a=1, **b)", [{"f": {"a": 1, None: "b"}}]),
        ("f(a=+5, b=not True, c=~3)", [{"f": {"a": -5, "b": -1, "c": -3}}]),
        ("f(a=true, b=...)", [{"f": {"a": "true", "b": "..."}}]),
        ("f(a=(1, [2, {'b': 3}]))", [{"f": {"a": (1, [2, {"b": 3}])}}]),
        ("f(a=g(1, 2), b=g(c=1))", [{"f": {"a": "g(1, 2)", "b": {"g": {"c": 1}}}}]),
        ("f(a=b[0], c=[1,2][1:])", [{"f": {"a": "b[0]", "c": "[1, 2][1:]"}}]),
        (
            "f(a=1/4, b=2**3, c='x'+'y', d=[1]*2)",
            [{"f": {"a": 0.25, "b": 8, "c": "xy", "d": [1, 1]}}],
        ),
        ("f(a=1)(b=2)", [{"": {"b": 2}}]),
    ],
)
def test_python_replies(text: str, calls: list[Any]) -> None:
    assert decode(text) == calls


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "I cannot do that.",
        "[f(a=1),\n g(b=2)]\nDone",
        "[\n f(a=1)\n]",
        "```python\n[f(a=1)]\n```",
        "['f(a=1)', 'g(b=2)']",
        "f",
        "[f(a=1), None]",
        "[*f()]",
        '{"name": "f", "arguments": {}}',
        "f(a=b.c)",
        "f(a=-b)",
        "f(a=-(1+2))",
        "f(a=f'{b}')",
        "f(a={1, 2})",
        "f(a=1 < 2)",
        "f(a=lambda: 1)",
        "f(a=[x for x in y])",
        "f(a={[1]: 2})",
        "f(a=1/0)",
        "f(a=b*2)",
        "f(a='\x00')",
        "f(a='\ud800)",
    ],
)
def test_what_does_not_decode(text: str) -> None:
    with pytest.raises(ParseError):
        decode(text)


@pytest.mark.parametrize(
    ("text", "language", "call"),
    [
        ("[A.b(x=1, y=\"z\", w='v')]", "Java", {"A.b": {"x": "1", "y": "z", "w": "v"}}),
        ("[foo(a={k: [1, 2]}, b='x')]", "JavaScript", {"foo": {"a": "{k: [1, 2]}", "b": "x"}}),
    ],
)
def test_source_replies(text: str, language: Any, call: dict[str, Any]) -> None:
    assert decode(text, language) == [call]


@pytest.mark.parametrize("language", ["Java", "JavaScript"])
def test_sound_source_without_a_call_is_none(language: Any) -> None:
    assert decode("['a quotation and no more']", language) is None


@pytest.mark.parametrize(
    "text",
    [
        "f(" + "a" * MAX_CHARS + "=1)",
        f"f(a=0x{'f' * 20_000})",
        f"f(a=-0x{'f' * 20_000})",
        f"f(a=g(0x{'f' * 20_000}))",
    ],
)
def test_over_the_limits(text: str) -> None:
    with pytest.raises(TooLargeError):
        decode(text)


@pytest.mark.parametrize(
    "text",
    [
        "f(a=" + "[" * 5000,
        "f(a=" + "-" * 20_000 + "1)",
        "f(a=" + "+".join("1" * 20_000) + ")",
        "f" + ".a" * 20_000 + "(b.c[0].d=1",
        "f(a=" + "(" * 150 + "1" + ")" * 150 + ",",
    ],
)
def test_deep_text_fails_in_order(text: str) -> None:
    with pytest.raises(ParseError):
        decode(text)


@pytest.mark.parametrize("language", ["Java", "JavaScript"])
@pytest.mark.parametrize(
    "text", ["f(" * 9000, "f(a=" + "[" * 9000, "f(a=" + "(a)" * 9000, "{" * 9000]
)
def test_deep_source_fails_in_order(language: Any, text: str) -> None:
    with pytest.raises(ParseError):
        decode(text, language)


def test_function_calling_replies() -> None:
    raw = [{"f": '{"a": 1, "b": [true, null]}'}, {"g": "{}"}]
    assert decode_fc(raw) == [{"f": {"a": 1, "b": [True, None]}}, {"g": {}}]


@pytest.mark.parametrize(
    "raw",
    [
        "text",
        None,
        ["text"],
        [{}],
        [{"f": {"a": 1}}],
        [{"f": "{"}],
        [{"f": "[" * 100_000}],
        {"f": "{}"},
    ],
)
def test_what_is_no_function_calling_reply(raw: object) -> None:
    with pytest.raises(ParseError):
        decode_fc(raw)


def test_json_is_read_up_to_a_depth() -> None:
    deep = '{"a": ' + "[" * 99 + "]" * 99 + "}"
    assert len(decode_fc([{"f": deep}])) == 1
    for read in (decode_fc, fc_call_strings):
        with pytest.raises(TooLargeError, match="arguments of f are nested over 100 deep"):
            read([{"f": deep.replace("[]", "[[]]")}])


@pytest.mark.parametrize(
    ("raw", "calls"),
    [
        ([{"f": '{"a": {"b": {"c": 1}}}'}, {"g": {}}], ["f(a={'b': {'c': 1}})", "g()"]),
        ({"f": {"a": 1, "b": "x"}}, ["f(a=1,b='x')"]),
        ([], []),
    ],
)
def test_call_strings_of_a_function_calling_reply(raw: object, calls: list[str]) -> None:
    assert fc_call_strings(raw) == calls


@pytest.mark.parametrize(
    ("decoded", "sound"),
    [
        ([], True),
        ([{"f": {}}], True),
        ([{"f": {"a": 1}}, {"g": {}}], True),
        ([{}], False),
        ([{"f": {}, "g": {}}], False),
        ([{"f": [1]}], False),
        (["f()"], False),
        ({"f": {}}, False),
        (None, False),
    ],
)
def test_the_shape_of_calls(decoded: object, sound: bool) -> None:
    assert is_call_list(decoded) is sound


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("[f(a='x', b=(1,)), g()]", ["f(a='x', b=(1,))", "g()"]),
        ("f(1, b=2)", ["f(b=2)"]),
        ("f(a={'x': 1, 'y': {'z': 2}})", ["f(a={'x': 1, 'y': {'z': 2}})"]),
        ("f(a={'k': {'z': 2}})", ["f(a=k(z=2))"]),
        ("f(a={'k': {}})", ["f(a=k())"]),
        ("f(a=[{'k': {}}])", ["f(a=[{'k': {}}])"]),
        ("f(a=day)", ["f(a='day')"]),
    ],
)
def test_call_strings(text: str, printed: list[str]) -> None:
    assert to_call_strings(decode(text) or []) == printed


def test_an_empty_dict_is_no_argument() -> None:
    with pytest.raises(ParseError, match="an empty dict cannot be printed as an argument"):
        to_call_strings([{"f": {"a": {}}}])
