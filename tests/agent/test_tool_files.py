from __future__ import annotations

import json
from pathlib import Path

import pytest

from coalm.agent.tool_files import read_tool_schemas
from coalm.errors import ToolError

PLAIN = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        [PLAIN],
        {"tools": [PLAIN]},
        [{"type": "function", "function": PLAIN}],
        {"tools": [{"type": "function", "function": PLAIN}]},
    ],
)
def test_every_usual_form_is_read(tmp_path: Path, content: object) -> None:
    (tmp_path / "tools.json").write_text(json.dumps(content))
    (schema,) = read_tool_schemas(tmp_path / "tools.json")
    assert schema.model_dump() == PLAIN


def test_tools_keep_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text('\ufeff[{"name": "b"}, {"name": "a"}]', encoding="utf-8")
    assert [s.name for s in read_tool_schemas(tmp_path / "tools.json")] == ["b", "a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "tools.json: cannot be read as JSON: "),
        ("[" * 100_000, "tools.json: cannot be read as JSON: "),
        ("[]", "tools.json: expected a list of tool schemas, got []"),
        ("3", "tools.json: expected a list of tool schemas, got 3"),
        ('[{"name": "a"}, {"description": "b"}]', "tools.json: tool 2: name: Field required"),
        ('[{"function": 3}]', "tools.json: tool 1: Input should be a valid dictionary"),
        ('[{"name": "a", "parameters": []}]', "tools.json: tool 1: parameters: Input should be"),
    ],
)
def test_what_is_no_tool_schema_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "tools.json").write_text(content)
    with pytest.raises(ToolError) as caught:
        read_tool_schemas(tmp_path / "tools.json")
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"tools\.json: no such file"):
        read_tool_schemas(tmp_path / "tools.json")
