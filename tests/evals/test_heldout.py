from pathlib import Path

import pytest
from pydantic import JsonValue

from coalm import jsonl
from coalm.agent.rollout import run_one
from coalm.engines.base import SamplingParams
from coalm.engines.scripted import ScriptedEngine
from coalm.errors import DataError
from coalm.evals.base import add_up
from coalm.evals.heldout import HeldOut, HeldOutConfig
from coalm.formats import get_format
from coalm.types import Conversation, Message, ToolCall, ToolSchema

USER = Message(role="user", content="A table in Oslo at noon, please")
CALL = Message(
    role="assistant",
    thought="City and time are known.",
    tool_calls=(ToolCall(name="Book", arguments={"city": "Oslo", "time": "noon"}),),
)
REPLY = Message(role="assistant", thought="I ask for the time.", content="When?")


def record(number: int, skill: str, form: str, target: Message) -> Conversation:
    return Conversation(
        id=f"r{number}",
        messages=(USER, target),
        tools=(ToolSchema(name="Book"),),
        meta={"skill": skill, "format": form, "source": "test", "group": "g"},
    )


@pytest.fixture
def task(tmp_path: Path) -> HeldOut:
    state = CALL.model_copy(update={"thought": None})
    rows = [
        record(1, "CRA", "react", CALL),
        record(2, "CRA", "react", REPLY),
        record(3, "TOD", "dst", state),
        record(4, "LA", "json_calls", Message(role="assistant")),
    ]
    jsonl.write(tmp_path / "v.jsonl", [row.model_dump(exclude_defaults=True) for row in rows])
    return HeldOut(HeldOutConfig(path=tmp_path / "v.jsonl"))


def answers(task: HeldOut, texts: list[str]) -> dict[str, float]:
    engine = ScriptedEngine(texts)
    scores = [
        task.score(sample, run_one(task.rollout(sample), engine, SamplingParams()))
        for sample in task.samples()
    ]
    return task.aggregate(add_up(scores))


def test_the_records_themselves_score_100(task: HeldOut) -> None:
    texts = [
        get_format(str(s.conversation.meta["format"])).render_reply(
            Message.model_validate(s.target)
        )
        for s in task.samples()
    ]
    assert set(answers(task, texts).values()) == {100.0}


@pytest.mark.parametrize(
    ("texts", "readable", "decision", "exact", "arguments"),
    [
        (["", "", "", ""], 100, 25, 0, 0),
        (["Action: Book(city=", "hi", "System: []", "```\n[]\n```"], 75, 50, 0, 0),
        (
            ['Action: Book(city="Oslo", time="one")', "Action: Book()", '{"domain": "Book", '
             '"slot_values": {"city": "Oslo", "time": "noon"}}', '[{"name": "Book"}]'],
            100, 50, 50, 75,
        ),
    ],
)  # fmt: skip
def test_wrong_answers(
    task: HeldOut,
    texts: list[str],
    readable: float,
    decision: float,
    exact: float,
    arguments: float,
) -> None:
    figures = answers(task, texts)
    assert figures["readable"] == readable
    assert figures["right decision"] == decision
    assert figures["exact call"] == exact
    assert figures["right arguments"] == arguments


def test_a_failed_dialogue_is_wrong(task: HeldOut) -> None:
    call, reply = task.samples()[:2]
    assert task.score(call, None).values["right"] == 0
    assert task.score(call, None).verdict == "no call"
    assert task.score(reply, None).values["right"] == 0


def test_the_answer_is_not_in_the_question(task: HeldOut) -> None:
    for sample in task.samples():
        assert sample.conversation.messages == (USER,)


def test_stop_texts_and_versions_come_from_the_formats(task: HeldOut) -> None:
    assert task.stop == ("\nObservation:", "\nUser:")
    assert task.provenance()["format"] == "dst, json_calls, react"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"id": "a", "messages": [{"role": "user"}]}, "expected a record of skill TOD, LA, CRA"),
        ({"id": "a", "messages": [{"role": "bot"}]}, "no conversation: messages.0.role"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, row: dict[str, JsonValue], problem: str) -> None:
    jsonl.write(tmp_path / "v.jsonl", [row])
    with pytest.raises(DataError, match=rf"v\.jsonl:1: {problem}"):
        HeldOut(HeldOutConfig(path=tmp_path / "v.jsonl")).samples()
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        HeldOut(HeldOutConfig(path=tmp_path / "none.jsonl")).samples()
