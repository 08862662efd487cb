from __future__ import annotations

import pytest

from coalm.data.schemas import is_optional, json_schema, python_type


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("str", {"type": "string"}),
        ("str, optional", {"type": "string"}),
        ("List[int], optional", {"type": "array", "items": {"type": "integer"}}),
        ("List[set]", {"type": "array", "items": {"type": "array"}}),
        ("Tuple[int, int]", {"type": "array", "items": {"type": "integer"}}),
        ("Tuple[int, str]", {"type": "array"}),
        ("tuple[float, ...]", {"type": "array", "items": {"type": "number"}}),
        ("Dict[str, List[int]]", {"type": "object"}),
        ("Union[int, Dict[str, int]]", {"anyOf": [{"type": "integer"}, {"type": "object"}]}),
        ("Optional[bool]", {"type": "boolean"}),
        ("set", {"type": "array"}),
        ("list", {"type": "array"}),
        ("Array[string]", {"type": "array", "items": {"type": "string"}}),
        ("Callable[[float], float]", {}),
        ("any", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_a_type_of_python_as_json_schema(text: str, expected: dict[str, object]) -> None:
    assert python_type(text) == expected


def test_optional_is_said_in_two_ways() -> None:
    assert [is_optional(t) for t in ("str, optional", "Optional[int]", "str")] == [
        True,
        True,
        False,
    ]


INT = {"type": "int"}


def test_types_are_named_as_in_json_schema_at_every_depth() -> None:
    found = json_schema(
        {
            "type": "dict",
            "required": None,
            "properties": {
                "rows": {"type": "list", "items": {"type": "dict", "properties": {"n": INT}}},
                "odd": 3,
            },
        }
    )  # fmt: skip
    assert found == {
        "type": "object",
        "properties": {
            "rows": {
                "type": "array",
                "items": {"type": "object", "properties": {"n": {"type": "integer"}}},
            },
            "odd": {},
        },
    }
