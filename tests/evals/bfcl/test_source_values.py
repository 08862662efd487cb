from __future__ import annotations

import time
from typing import Any

import pytest

from coalm.evals.bfcl.java_values import read_java_value
from coalm.evals.bfcl.javascript_values import read_javascript_value

JAVA: list[tuple[str, str, str | None, Any]] = [
    ("5", "integer", None, 5),
    ("-5\n", "short", None, -5),
    ("5.0", "byte", None, "5.0"),
    ("5L", "long", None, 5),
    ("5", "long", None, "5"),
    ("2.5f", "float", None, 2.5),
    ("2.5", "float", None, "2.5"),
    ("2.5e3", "double", None, 2500.0),
    ("2.5f", "double", None, "2.5f"),
    ("true", "boolean", None, True),
    ("True", "boolean", None, "True"),
    ("a", "char", None, "a"),
    ("5", "any", None, "5"),
    ("new int[]{1, 2}", "Array", "integer", [1, 2]),
    ("new int[] { }", "Array", "integer", []),
    ('new String[]{"a", "b,c"}', "Array", "String", ['"a"', '"b', 'c"']),
    ('new Object[]{1, "a", true, 2L}', "Array", None, [1, "a", True, 2]),
    ("{1, 2}", "Array", "integer", "{1, 2}"),
    ('new ArrayList<>(Arrays.asList("a", "b"))', "ArrayList", "String", ["a", "b"]),
    ("new ArrayList<Integer>(Arrays.asList(1, x))", "ArrayList", "integer", [1, "x"]),
    ("new ArrayList<>() {{ add('a'); add('b'); }}", "ArrayList", "char", ["a", "b"]),
    ("new ArrayList<>() {{ }}", "ArrayList", "String", []),
    ("new ArrayList<>()", "ArrayList", "String", []),
    ("List.of(1)", "ArrayList", "integer", "List.of(1)"),
    (
        'new HashMap<String, A>() {{ put("a", 1); put("b", "c"); }}',
        "HashMap",
        None,
        {"a": 1, "b": "c"},
    ),
    ('new HashMap<>() { { put("a", 2.5f); } }', "HashMap", None, {"a": 2.5}),
    ('new HashMap<>() {{ put("a",\n b); }}', "HashMap", None, {"a": "b"}),
    ('new HashMap<>() {{ put("a", "b")', "HashMap", None, {}),
    ("new HashMap<>()", "HashMap", None, {}),
    ("Map.of()", "HashMap", None, "Map.of()"),
]
JAVASCRIPT: list[tuple[str, str, str | None, Any]] = [
    ("'a'", "String", None, "a"),
    ("a", "String", None, "a"),
    ("5", "integer", None, 5),
    ("5.0", "integer", None, "5.0"),
    ("5", "float", None, 5.0),
    ("5.", "float", None, "5."),
    ("5n", "Bigint", None, 5),
    ("5", "Bigint", None, "5"),
    ("false", "Boolean", None, False),
    ("null", "any", None, "null"),
    ("[1, 'a', true]", "array", None, [1, "a", True]),
    ("[1, 2.5]", "array", "float", [1.0, 2.5]),
    ("['a', 'b,c']", "array", "String", ["a", "'b", "c'"]),
    ("new Array(1, 2)", "array", "integer", [1, 2]),
    ("[]", "array", "String", []),
    ("[[1, 2], [3, 4]]", "array", "array", [[1, 2], [3, 4]]),
    ("new Array([1], [2])", "array", None, [[1], [2]]),
    ("[[1], [2], 3]", "array", None, ["[1"]),
    ("[[]]", "array", None, [[""]]),
    ("values", "array", "String", "values"),
    ("{}", "dict", None, {}),
    ("{a: 1, 'b': \"c\", d: [1, 2]}", "dict", None, {"a": 1, "b": "c", "d": [1, 2]}),
    ("{a: {b: 1}, c: 2}", "dict", None, {"a": "{b: 1"}),
    ("{\na: 1}", "dict", None, "{\na: 1}"),
]


@pytest.mark.parametrize(("text", "kind", "item", "value"), JAVA)
def test_java(text: str, kind: str, item: str | None, value: Any) -> None:
    found = read_java_value(text, kind, item)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(("text", "kind", "item", "value"), JAVASCRIPT)
def test_javascript(text: str, kind: str, item: str | None, value: Any) -> None:
    found = read_javascript_value(text, kind, item)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "text",
    [
        "new HashMap<>() {" + " " * 3900,
        "new ArrayList<>() {{" + " " * 3900,
        "new HashMap<" * 300,
        "new HashMap<>() {{" + 'put("' * 400 + '",' * 800 + "}",
        "[[a]" + ",[a]" * 900,
        "[" * 3900,
        "{" + "a:," * 1200 + "}",
        "{" + ("," + " " * 90) * 40 + "}",
        "1" * 3900,
    ],
)
def test_no_text_keeps_the_reader_busy(text: str) -> None:
    started = time.process_time()
    for kind in ("HashMap", "ArrayList", "Array", "long"):
        read_java_value(text, kind)
    for kind in ("array", "dict", "float"):
        read_javascript_value(text, kind)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("kind", ["integer", "HashMap", "array"])
def test_very_long_text_stays_text(kind: str) -> None:
    text = "1" * 5000
    assert read_java_value(text, kind) is text
    assert read_javascript_value(text, kind) is text
