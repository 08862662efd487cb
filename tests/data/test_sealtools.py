from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from coalm.data.config import SealToolsConfig
from coalm.data.files import Copy
from coalm.data.sealtools import SealToolsSource
from coalm.errors import DataError
from coalm.types import Conversation

FIXTURE = Path(__file__).parents[1] / "fixtures" / "sealtools"


def read(root: Path, distractors: int = 2) -> tuple[SealToolsSource, list[Conversation]]:
    source = SealToolsSource(Copy(root), SealToolsConfig(tools=f"own+{distractors}"), 7)
    return source, list(source.conversations())


def names(sample: Conversation) -> set[str]:
    return {tool.name for tool in sample.tools}


def test_arguments_get_the_types_of_the_tool() -> None:
    _, (first, second) = read(FIXTURE)
    assert [(c.name, c.arguments) for c in first.messages[-1].tool_calls] == [
        ("mixPaint", {"colour": "blue", "litres": 2.5})
    ]
    assert [(c.name, c.arguments) for c in second.messages[-1].tool_calls] == [
        ("mixPaint", {"colour": "red"}),
        ("rentKiln", {"hours": 3, "hot": True}),
    ]


def test_distractors_are_of_the_same_area_but_not_of_a_needed_field() -> None:
    _, (first, second) = read(FIXTURE)
    assert names(first) == {"mixPaint", "rentKiln", "castBronze"}
    assert names(second) == {"mixPaint", "rentKiln", "castBronze"}
    _, (first, _) = read(FIXTURE, distractors=0)
    assert names(first) == {"mixPaint"}


def test_the_schema_speaks_json_schema() -> None:
    _, (first, _) = read(FIXTURE)
    (schema,) = [tool for tool in first.tools if tool.name == "mixPaint"]
    assert schema.parameters == {
        "type": "object",
        "properties": {
            "colour": {"type": "string", "description": "the colour"},
            "litres": {"type": "number", "description": "the litres"},
        },
        "required": ["colour"],
    }


def test_a_call_that_needs_the_result_of_another_is_left_out_by_name() -> None:
    source, samples = read(FIXTURE)
    assert source.ledger.rejected == [
        ("dev.jsonl:3", "a call needs the result of another", "dev-3")
    ]
    assert [sample.id for sample in samples] == ["sealtools/dev-1", "sealtools/dev-2"]


GOOD_CALL = {"api": "mixPaint", "parameters": {"colour": "red"}}
BAD_CALL = {"api": "rentKiln", "parameters": {"hours": [1]}}


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        ('{"id": "a", "query"', "not JSON", ""),
        ("[1, 2]", "not a request", "Input should be"),
        ('{"id": "a", "calling": []}', "not a request", "query: Field required"),
        ('{"id": 3, "query": "x", "calling": []}', "not a request", "id: Input should be"),
        (
            '{"id": "a", "query": "x", "calling": [{"api": "nope", "parameters": {}}]}',
            "call that does not fit its schema",
            "tool 'nope' is not in tool.jsonl",
        ),
        (
            json.dumps({"id": "a", "query": "x", "calling": [BAD_CALL]}),
            "call that does not fit its schema",
            "rentKiln: argument 'hours' must be an integer, got [1]",
        ),
        (
            json.dumps({"id": "dev-1", "query": "x", "calling": [GOOD_CALL]}),
            "an earlier row has the same id",
            "dev-1",
        ),
    ],
)
def test_a_bad_line_is_named_and_the_rest_is_built(
    tmp_path: Path, line: str, reason: str, detail: str
) -> None:
    shutil.copytree(FIXTURE, tmp_path / "copy")
    with (tmp_path / "copy" / "dev.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    source, samples = read(tmp_path / "copy")
    rejection = source.ledger.rejected[-1]
    assert rejection[:2] == ("dev.jsonl:4", reason)
    assert rejection.detail.startswith(detail)
    assert len(samples) == 2


def test_a_bad_tool_is_named(tmp_path: Path) -> None:
    shutil.copytree(FIXTURE, tmp_path / "copy")
    with (tmp_path / "copy" / "tool.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"api_name": "x"}\n')
    source, _ = read(tmp_path / "copy")
    assert source.ledger.rejected[0] == (
        "tool.jsonl:6",
        "not a tool",
        "api_description: Field required",
    )


def test_without_a_single_tool_there_is_nothing_to_build(tmp_path: Path) -> None:
    (tmp_path / "tool.jsonl").write_text("")
    with pytest.raises(DataError, match=r"tool\.jsonl holds no readable tool"):
        read(tmp_path)


def test_upstream_s_training_file_is_read_where_there_is_one(tmp_path: Path) -> None:
    shutil.copytree(FIXTURE, tmp_path / "Seal-Tools_Dataset")
    row = {"id": "train-1", "query": "Mix red.", "calling": [GOOD_CALL]}
    (tmp_path / "Seal-Tools_Dataset" / "train.jsonl").write_text(json.dumps(row))
    _, samples = read(tmp_path)
    assert [sample.id for sample in samples][-1] == "sealtools/train-1"


def test_each_request_is_drawn_one_of_the_formats() -> None:
    config = SealToolsConfig(tools="own+2", formats=("json_calls", "python_calls"))
    found = {
        str(sample.meta["format"])
        for seed in range(8)
        for sample in SealToolsSource(Copy(FIXTURE), config, seed).conversations()
    }
    assert found == {"json_calls", "python_calls"}


@pytest.mark.parametrize(
    ("form", "answer"),
    [("json_calls", ""), ("python_calls", "None of"), ("system_calls", "None of")],
)
def test_where_no_function_fits_nothing_is_called(form: str, answer: str) -> None:
    config = SealToolsConfig.model_validate({"tools": "own+2", "formats": [form], "no_call": 1.0})
    _, usual = read(FIXTURE)
    asked = list(SealToolsSource(Copy(FIXTURE), config, 7).conversations())
    for sample, before in zip(asked, usual, strict=True):
        last = sample.messages[-1]
        assert not last.tool_calls
        assert last.content.startswith(answer)
        assert not names(sample) & {call.name for call in before.messages[-1].tool_calls}


def test_the_number_of_functions_does_not_say_whether_one_fits(tmp_path: Path) -> None:
    shutil.copytree(FIXTURE, tmp_path / "copy")
    with (tmp_path / "copy" / "tool.jsonl").open("a", encoding="utf-8") as file:
        for number in range(9):
            tool = {"api_name": f"frame{number}", "api_description": "", "field": "Art/Frames"}
            file.write(json.dumps({**tool, "parameters": {}, "required": []}) + "\n")
    for tools in ("own", "own+2", "own+0..4"):
        numbers = []
        for share in (0.0, 1.0):
            config = SealToolsConfig(tools=tools, no_call=share)
            source = SealToolsSource(Copy(tmp_path / "copy"), config, 7)
            numbers.append([len(sample.tools) for sample in source.conversations()])
        assert numbers[0] == numbers[1]
