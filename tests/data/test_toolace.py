from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from coalm.data.config import ToolAceConfig
from coalm.data.files import Copy
from coalm.data.toolace import ToolAceSource
from coalm.formats import get_format
from coalm.types import Conversation
from coalm.world.files import Volume, write_world

FIXTURE = Path(__file__).parents[1] / "fixtures" / "toolace"


def read(root: Path, tools: str = "own") -> tuple[ToolAceSource, list[Conversation]]:
    source = ToolAceSource(Copy(root), ToolAceConfig(tools=tools), 7)
    return source, list(source.conversations())


FIND = {
    "name": "Find It",
    "description": "Finds.",
    "parameters": {"type": "dict", "properties": {"q": {"type": "string"}}},
}


def talk(turns: list[tuple[str, str]], functions: object = (FIND,)) -> dict[str, object]:
    return {
        "system": f"Use these: {json.dumps(functions)} as [f(a=1)].",
        "conversations": [{"from": who, "value": value} for who, value in turns],
    }


def read_talks(folder: Path, *talks: object) -> tuple[ToolAceSource, list[Conversation]]:
    (folder / "data.json").write_text(json.dumps(talks))
    return read(folder)


def test_every_assistant_turn_is_a_sample_with_all_before_it() -> None:
    source, samples = read(FIXTURE)
    assert [sample.id for sample in samples] == [
        *("toolace/00001/03", "toolace/00001/06", "toolace/00001/08", "toolace/00001/10"),
        *("toolace/00002/03", "toolace/00002/05", "toolace/00003/03"),
    ]
    assert all(sample.messages[-1].role == "assistant" for sample in samples)
    assert [m.role for m in samples[1].messages] == [
        *("system", "user", "assistant", "tool", "tool", "assistant")
    ]
    assert source.ledger.counts == Counter(
        {
            "conversations": 4,
            "calls": 2,
            "prose": 5,
            "begins like a call, read as prose": 1,
        }
    )


def test_calls_have_names_with_signs_and_nested_values() -> None:
    _, samples = read(FIXTURE)
    assert [(call.name, call.arguments) for call in samples[0].messages[-1].tool_calls] == [
        (
            "Kiln Market API",
            {"country": "us", "limit": 2, "filter": {"tags": ["a, b", "[c]"], "hot": True}},
        ),
        ("studio.find/free", {"day": "2024-05-07"}),
    ]


def test_results_become_a_message_each_where_they_match_the_calls() -> None:
    _, samples = read(FIXTURE)
    first, second = samples[1].messages[3:5]
    assert (first.name, first.content) == ("Kiln Market API", '{"kilns": ["A"]}')
    assert (second.name, second.content) == ("studio.find/free", "[]")
    alone = samples[3].messages[-2]
    assert (alone.name, alone.content) == (None, '{"error": "closed"}')


def test_functions_come_out_of_the_system_text_as_json_schema() -> None:
    _, samples = read(FIXTURE)
    market = samples[0].tools[0]
    assert market.parameters["type"] == "object"
    assert market.required == ("country",)
    assert market.properties["limit"]["type"] == "integer"
    assert market.properties["filter"]["properties"] == {
        "tags": {"type": "array", "items": {"type": "string"}},
        "hot": {"type": "boolean"},
    }
    assert "required" not in (market.model_extra or {})


def test_the_time_is_said_and_the_frame_of_the_system_text_is_not() -> None:
    _, samples = read(FIXTURE)
    assert samples[0].messages[0].content == "The current time is 2024-05-06 10:11:12."


def test_a_turn_that_does_not_parse_whole_is_prose() -> None:
    _, samples = read(FIXTURE)
    last = samples[5].messages[-1]
    assert last.tool_calls == ()
    assert last.content == '[studio.find/free(day="2024-05-07")] is what I will call.'


def test_a_function_that_is_not_offered_ends_its_conversation() -> None:
    source, _ = read(FIXTURE)
    assert source.ledger.rejected == [
        (
            "data.json: row 4, turn 2",
            "call that does not fit its schema",
            "function 'Sell Kiln' is not among those on offer",
        ),
        ("data.json: row 4, turn 4", "follows a turn that was dropped", "data.json: row 4, turn 2"),
    ]


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ('[Find It(q="x")]', ["Find It"]),
        (' [Find It(q="x"), Find It(q="y")]\n', ["Find It", "Find It"]),
        ('[Find It(q="a) [b], c(")]', ["Find It"]),
        ("[Find It()]", ["Find It"]),
        ('[Find It(q="x"] and', []),
        ('Find It(q="x")', []),
        ('Sure: [Find It(q="x")]', []),
        ('[Find It("x")]', []),
        ("[]", []),
        ("[1, 2]", []),
        ("[see below](http://x.org)", []),
    ],
)
def test_what_is_a_call_and_what_is_prose(tmp_path: Path, said: str, names: list[str]) -> None:
    _, samples = read_talks(tmp_path, talk([("user", "q"), ("assistant", said)]))
    (sample,) = samples
    assert [call.name for call in sample.messages[-1].tool_calls] == names
    assert bool(sample.messages[-1].content) == (not names)


def test_a_name_with_signs_of_the_notation_is_known_from_the_list(tmp_path: Path) -> None:
    functions = [{"name": "Who's In (now)", "parameters": {"type": "dict", "properties": {}}}]
    said = "[Who's In (now)()]"
    _, (sample,) = read_talks(tmp_path, talk([("user", "q"), ("assistant", said)], functions))
    assert [call.name for call in sample.messages[-1].tool_calls] == ["Who's In (now)"]


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ({"conversations": []}, "not a conversation", "system: Field required"),
        (talk([("robot", "x")]), "not a conversation", "conversations.0.from: Input should be"),
        (
            talk([], functions=[{"description": "x"}]),
            "not a conversation",
            "0.name: Field required",
        ),
        (
            {"system": "No list.", "conversations": []},
            "no list of functions in the system text",
            "",
        ),
        ({"system": "Cut: [{", "conversations": []}, "no list of functions in the system text", ""),
        ([1], "not a conversation", "Input should be"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: object, reason: str, detail: str) -> None:
    good = talk([("user", "q"), ("assistant", "a")])
    source, samples = read_talks(tmp_path, row, good)
    assert len(samples) == 1
    (rejection,) = source.ledger.rejected
    assert rejection[:2] == ("data.json: row 1", reason)
    assert rejection.detail.startswith(detail)


def test_arguments_that_do_not_fit_are_named(tmp_path: Path) -> None:
    said = '[Find It(q=["x"])]'
    source, samples = read_talks(tmp_path, talk([("user", "q"), ("assistant", said)]))
    assert samples == []
    assert source.ledger.rejected[0].detail == "Find It: argument 'q' must be a string, got ['x']"


def test_distractors_come_to_conversations_with_a_call_only() -> None:
    _, samples = read(FIXTURE, "own+1")
    offered = {sample.meta["group"]: len(sample.tools) for sample in samples}
    assert offered == {"toolace/00001": 3, "toolace/00002": 1, "toolace/00003": 3}
    _, samples = read(FIXTURE, "all")
    assert len(samples[0].tools) == 3


@pytest.mark.parametrize("tools", ["own", "own+3"])
def test_the_world_s_conversations_are_read_without_a_loss(tmp_path: Path, tools: str) -> None:
    volume = Volume(1, 1, 1, 1, 1, xlam=1, irrelevant=1, toolace=60)
    write_world(tmp_path / "w", seed=5, volume=volume)
    source, samples = read(tmp_path / "w" / "toolace", tools)
    rows = json.loads((tmp_path / "w" / "toolace" / "data.json").read_text(encoding="utf-8"))
    turns = [turn for row in rows for turn in row["conversations"] if turn["from"] == "assistant"]
    assert source.ledger.rejected == []
    assert len(samples) == len(turns)
    prompt_format = get_format("python_calls")
    for turn, sample in zip(turns, samples, strict=True):
        assert bool(sample.messages[-1].tool_calls) == turn["value"].startswith("[")
        reply = prompt_format.render_reply(sample.messages[-1])
        assert prompt_format.parse(reply) == sample.messages[-1]


def test_a_clone_s_folder_is_read_too(tmp_path: Path) -> None:
    shutil.copytree(FIXTURE, tmp_path / "ToolACE")
    assert len(read(tmp_path)[1]) == 7
