from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest

from coalm.data.config import ToolAlpacaConfig
from coalm.data.files import Copy, MissingFilesError
from coalm.data.toolalpaca import ToolAlpacaSource
from coalm.formats import get_format
from coalm.types import Conversation

FIXTURE = Path(__file__).parents[1] / "fixtures" / "toolalpaca"
Part = Literal["train", "eval_simulated", "eval_real"]


def read(
    root: Path, *parts: Part, tools: str = "own"
) -> tuple[ToolAlpacaSource, list[Conversation]]:
    config = ToolAlpacaConfig(tools=tools, **({"parts": parts} if parts else {}))
    source = ToolAlpacaSource(Copy(root), config, 7)
    return source, list(source.conversations())


def test_only_training_data_are_read_unless_the_configuration_says_more() -> None:
    source, samples = read(FIXTURE)
    assert {sample.id.split("/")[1] for sample in samples} == {"train"}
    assert source.ledger.files == [FIXTURE / "data" / "train_data.json"]
    _, samples = read(FIXTURE, "train", "eval_simulated")
    assert {sample.id.split("/")[1] for sample in samples} == {"train", "eval_simulated"}


def test_steps_are_calls_and_a_request_for_details_is_a_question_to_the_user() -> None:
    source, samples = read(FIXTURE)
    assert [sample.id for sample in samples] == [
        f"toolalpaca/train/001/01/{part}" for part in ("01", "02", "03", "reply")
    ]
    whole = samples[-1].messages
    assert [(message.role, message.content) for message in whole if message.content] == [
        ("user", "Rent me a kiln in Oslo."),
        ("assistant", "How hot should it be?"),
        ("user", "1200 degrees."),
        ("tool", 'Status Code: 200. Response: [{"id": "K1"}]'),
        ("tool", 'Status Code: 200. Response: {"ok": true}'),
        ("assistant", "Kiln K1 is yours."),
    ]
    calls = [(call.name, call.arguments) for message in whole for call in message.tool_calls]
    assert calls == [("findKiln", {"city": "Oslo", "heat": 1200}), ("rentKiln", {"id": "K1"})]
    assert source.ledger.counts == Counter({"APIs of train": 1, "calls": 2, "replies": 2})


def test_functions_have_types_out_of_their_text() -> None:
    _, samples = read(FIXTURE)
    find, rent = samples[0].tools
    assert find.description == "Find a kiln."
    assert find.properties == {
        "city": {"type": "string", "description": "The city."},
        "heat": {"type": "integer", "description": "One of: [900, 1200]. The heat."},
        "tags": {"type": "array", "items": {"type": "string"}, "description": "Tags."},
    }
    assert (find.required, rent.required) == (("city",), ("id",))


def test_golden_answers_are_all_calls_at_once() -> None:
    source, samples = read(FIXTURE, "eval_simulated")
    assert [[call.arguments for call in s.messages[-1].tool_calls] for s in samples] == [
        [{"city": "Rome"}],
        [{"city": "Rome"}, {"city": "Oslo"}],
    ]
    (rejection,) = source.ledger.rejected
    assert rejection[:2] == (
        "data/eval_simulated.json: row 1, instruction 3",
        "call that does not fit its schema",
    )
    assert rejection.detail.startswith('rentKiln: arguments are not JSON: \'{"id": ${id from')


def test_a_step_that_does_not_fit_ends_its_instance() -> None:
    source, _ = read(FIXTURE)
    assert source.ledger.rejected == [
        (
            "data/train_data.json: row 1, instance 2",
            "call that does not fit its schema",
            "function 'sellKiln' is not one of the API",
        )
    ]


def test_a_copy_without_the_wanted_part_says_so(tmp_path: Path) -> None:
    (tmp_path / "eval_real.json").write_text("[]")
    with pytest.raises(MissingFilesError, match=r"no file such as train_data\.json here"):
        read(tmp_path)


def test_distractors_are_functions_of_other_apis() -> None:
    _, samples = read(FIXTURE, "train", tools="all")
    assert {tool.name for tool in samples[0].tools} == {"findKiln", "rentKiln"}


@pytest.mark.real
@pytest.mark.parametrize(
    ("part", "samples", "rejected"), [("eval_real", 104, 10), ("eval_simulated", 66, 34)]
)
def test_the_evaluation_files_are_read_when_they_are_asked_for(
    part: Part, samples: int, rejected: int
) -> None:
    source, found = read(Path(os.environ["COALM_DATA"]) / "toolalpaca", part)
    assert (len(found), len(source.ledger.rejected)) == (samples, rejected)
    prompt_format = get_format("json_calls")
    for sample in found:
        reply = prompt_format.render_reply(sample.messages[-1])
        assert prompt_format.parse(reply) == sample.messages[-1]
