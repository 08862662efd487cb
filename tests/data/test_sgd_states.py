from __future__ import annotations

import json
from pathlib import Path

from coalm.data.config import SgdStatesConfig
from coalm.data.files import Copy
from coalm.data.sgd_states import SgdStatesSource
from coalm.data.validate import validate
from coalm.formats import get_format
from coalm.types import Conversation

FIXTURE = Path(__file__).parents[1] / "fixtures" / "sgd"


def read(tools: str = "own+1") -> list[Conversation]:
    source = SgdStatesSource(Copy(FIXTURE), SgdStatesConfig(tools=tools), 7)
    return list(source.conversations())


def test_a_state_holds_what_is_annotated() -> None:
    files = sorted((FIXTURE / "train").glob("dialogues_*.json"))
    dialogues = [one for path in files for one in json.loads(path.read_text(encoding="utf-8"))]
    frames = {
        f"sgd/train/{dialogue['dialogue_id']}/{number:02}/state": turn["frames"]
        for dialogue in dialogues
        for number, turn in enumerate(dialogue["turns"])
    }
    compared = 0
    for sample in read():
        said = {call.name: call.arguments for call in sample.messages[-1].tool_calls}
        for frame in frames[sample.id]:
            values = frame["state"]["slot_values"]
            assert {slot: forms[-1] for slot, forms in values.items()} in [*said.values(), {}]
            compared += bool(values)
    assert compared


def test_one_sample_a_user_turn_that_says_what_the_format_can_say() -> None:
    form = get_format("dst")
    for sample in read():
        assert [m.role for m in sample.messages[-2:]] == ["user", "assistant"]
        answer = sample.messages[-1]
        assert form.parse(form.render_reply(answer)) == answer
        assert validate(sample) == []


def test_domains_of_the_same_job_are_not_offered_beside_each_other() -> None:
    for sample in read("own+9"):
        names = [tool.name for tool in sample.tools]
        jobs = [name.rpartition("_")[0] or name for name in names]
        assert len(set(names)) == len(names)
        assert len(set(jobs)) == len(jobs)
