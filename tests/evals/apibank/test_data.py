from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from coalm.errors import AssetError, DataError
from coalm.evals.apibank.data import FAULTS, gold_calls, load_level, to_conversation
from coalm.formats import get_format
from coalm.types import Message, ToolCall

ROWS = Path(__file__).parents[2] / "fixtures" / "apibank"


def test_rows_hold_both_forms() -> None:
    rows, checksums = load_level(1, ROWS)
    assert [row.id for row in rows] == [f"apibank-l1-00{at}" for at in range(6)]
    assert rows[0].original.answers[0].name == "SetAlarm"
    assert rows[0].hammer.output.startswith('```\n[{"name": "SetAlarm"')
    assert set(checksums) == {"original/apibank_l1.json", "hammer/apibank_l1.json"}
    assert {len(checksum) for checksum in checksums.values()} == {64}


def test_faults_of_rows_are_found() -> None:
    faults = [row.faults for level in (1, 2) for row in load_level(level, ROWS).rows]
    assert faults == [
        (),
        (),
        (),
        ("repeat",),
        ("unknown year",),
        ("undeclared argument", "left-out argument"),
        ("free wording",),
        ("tool not shown",),
        (),
    ]
    assert {fault for row in faults for fault in row} == set(FAULTS)


def test_the_dialogue_becomes_a_conversation_that_asks_for_the_call() -> None:
    row = load_level(1, ROWS).rows[1]
    conversation = to_conversation(row)
    assert conversation.messages == (
        Message(role="user", content="I am ann, wake me at seven."),
        Message(role="assistant", content="First your token."),
        Message(
            role="assistant",
            tool_calls=(ToolCall(name="GetToken", arguments={"user": "ann"}),),
        ),
        Message(role="tool", name="GetToken", content="{'token': 't-7'}"),
        Message(role="user", content="Generate API Request:"),
    )
    prompt = get_format("json_calls").render(conversation)
    assert 'API-Request: ```[{"name": "GetToken", "arguments": {"user": "ann"}}]```->' in (
        prompt[0].content
    )


def test_types_become_those_of_json_schema_and_other_keys_stay() -> None:
    tools = to_conversation(load_level(1, ROWS).rows[0]).tools
    assert tools[1].properties == {
        "user": {"type": "string", "description": "The user."},
        "codes": {
            "type": "array",
            "items": {"type": "string"},
            "description": "The codes.",
        },
    }
    assert tools[1].required == ()
    assert tools[1].model_extra == {
        "return": {"status": {"type": "str", "description": "How it went."}}
    }


def test_gold_calls() -> None:
    assert gold_calls(load_level(2, ROWS).rows[2]) == (
        ToolCall(name="QueryStock", arguments={"code": "MSFT"}),
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(ROWS, tmp_path / "apibank")


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "hammer" / "apibank_l1.json").unlink()
    with pytest.raises(DataError, match=r"hammer/apibank_l1.json: cannot be read: No such file"):
        load_level(1, copy)


def test_a_damaged_row_is_named(copy: Path) -> None:
    path = copy / "original" / "apibank_l1.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    del rows[3]["query"][0]["content"]
    path.write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(DataError, match=r"^original/apibank_l1.json: row 3.query.0.content: Field"):
        load_level(1, copy)


def test_text_that_is_no_json_is_named(copy: Path) -> None:
    (copy / "original" / "apibank_l1.json").write_text("[{", encoding="utf-8")
    with pytest.raises(DataError, match=r"^original/apibank_l1.json: row .*Invalid JSON"):
        load_level(1, copy)


def test_forms_of_different_length_are_refused(copy: Path) -> None:
    (copy / "hammer" / "apibank_l1.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match="6 rows in original/, 0 in hammer/"):
        load_level(1, copy)


def test_without_the_asset_both_ways_to_get_it_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("COALM_DATA", raising=False)
    monkeypatch.setenv("COALM_HOME", str(tmp_path))
    with pytest.raises(AssetError, match=r"coalm fetch apibank.*COALM_DATA"):
        load_level(1)


@pytest.mark.real
def test_the_known_faults_of_the_published_rows() -> None:
    level_1, level_2 = load_level(1).rows, load_level(2).rows
    assert (len(level_1), len(level_2)) == (399, 127)
    assert Counter(fault for row in level_1 for fault in row.faults) == {
        "repeat": 10,
        "undeclared argument": 8,
        "left-out argument": 20,
        "unknown year": 33,
    }
    assert Counter(fault for row in level_2 for fault in row.faults) == {
        "repeat": 16,
        "tool not shown": 6,
        "unknown year": 13,
        "free wording": 37,
    }
    undeclared = [at for at, row in enumerate(level_1) if "undeclared argument" in row.faults]
    assert undeclared == [61, 130, 164, 167, 215, 261, 270, 357]
    hidden = [at for at, row in enumerate(level_2) if "tool not shown" in row.faults]
    assert hidden == [26, 66, 81, 104, 105, 117]
    assert sum(not row.faults for row in level_1) == 339
    assert sum(not row.faults for row in level_2) == 62


@pytest.mark.real
@pytest.mark.parametrize("level", [1, 2])
def test_every_published_row_can_be_asked_in_both_forms(level: int) -> None:
    for row in load_level(1 if level == 1 else 2).rows:
        conversation = to_conversation(row)
        assert conversation.messages[-1].content == "Generate API Request:"
        assert not any(c.error for m in conversation.messages for c in m.tool_calls)
        assert not any("Generate API Request:" in m.content for m in conversation.messages[:-1])
        reply = Message(role="assistant", tool_calls=gold_calls(row))
        assert get_format("json_calls").render_reply(reply) == row.hammer.output
