import pytest
from pydantic import JsonValue

from coalm.errors import ParseError
from coalm.formats.text import read_value, well_formed, write_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'a'", "a"),
        ('"it\'s"', "it's"),
        (r'"\u00e9\x41\n\d"', "éA\n\\d"),
        (r'"\ud83c\udf55"', "🍕"),
        (r'"\ud83c"', "\ufffd"),
        ("True", True),
        ("false", False),
        ("None", None),
        ("null", None),
        ("-3", -3),
        ("+.5", 0.5),
        ("1e3", 1000.0),
        ("2.", 2.0),
        ("(1, 'b')", [1, "b"]),
        ("[1, 2,]", [1, 2]),
        ("[]", []),
        ("{'a': {\"b\": [null]}, }", {"a": {"b": [None]}}),
        (" [ 1 ] ", [1]),
    ],
)
def test_reads_python_and_json(text: str, value: JsonValue) -> None:
    assert read_value(text) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"expected a value at character 0 \(near ''\)"),
        ("maybe", "expected a value at character 0"),
        ("__import__('os')", "expected a value at character 0"),
        ("1 + 1", "text after the value at character 2"),
        ("'a", "text value without its closing quote"),
        ("[1, 2", r"expected '\]' at character 5"),
        ("{1: 2}", "object keys must be text"),
        ("{'a' 1}", "expected ':'"),
        ("1e999", "number too large"),
        ("9" * 5000, "number of 5000 digits"),
        ("-", "expected a number"),
        (r"'\u12'", r"bad \\u escape"),
        (r"'\U00ffffff'", "character code out of range"),
        ("[" * 100, "nested deeper than 64"),
        ("'" + "a" * 1_000_001 + "'", "text of 1000003 characters is over the limit of 1000000"),
    ],
)
def test_names_the_problem_and_the_place(text: str, problem: str) -> None:
    with pytest.raises(ParseError, match=problem):
        read_value(text)


def test_writes_one_line_of_python() -> None:
    value: JsonValue = {"a": [True, None, 1.5, "x\n'\""]}
    assert write_value(value) == r"""{"a": [True, None, 1.5, "x\n'\""]}"""


def test_well_formed_keeps_good_text_and_mends_surrogates() -> None:
    assert well_formed("é🍕") == "é🍕"
    assert well_formed("\ud83c\udf55") == "🍕"
    assert well_formed("a\ud83cb") == "a\ufffdb"
