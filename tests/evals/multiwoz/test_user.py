from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from coalm.agent.rollout import run_one
from coalm.engines.base import SamplingParams
from coalm.engines.scripted import ScriptedEngine
from coalm.errors import ConfigError
from coalm.evals.base import add_up
from coalm.evals.multiwoz.data import Dialogue
from coalm.evals.multiwoz.task import MultiWoz, MultiWozConfig
from coalm.evals.multiwoz.user import SimulatedUser, read_message
from coalm.types import Conversation, Prompt

SEARCH = (
    'Thought: I search.\nAction: query_trains(departure="cambridge", destination="ely", '
    'day="monday", arriveBy="10:00")'
)
ANSWER = "Thought: I say it.\nSystem: TR0001 leaves at 09:00 for 4.40 pounds."


@pytest.fixture
def make(write_release: Callable[..., Path]) -> Callable[..., MultiWoz]:
    place = write_release()

    def task(**settings: object) -> MultiWoz:
        return MultiWoz(
            MultiWozConfig.model_validate({"data_dir": place, "user": "simulated", **settings})
        )

    return task


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I need a train.", "I need a train."),
        ("  User: I need a train.\n\nDesk: Which one?", "I need a train."),
        ("Caller: a cheap one", "a cheap one"),
        ("Thanks, bye! [END]", None),
        ("", None),
        ("\n\n", None),
    ],
)
def test_what_a_user_says(text: str, said: str | None) -> None:
    assert read_message(text) == said


def test_the_tested_model_plays_the_user_too(make: Callable[..., MultiWoz]) -> None:
    task = make()
    sample = next(sample for sample in task.samples() if sample.id == "sng0002")
    assert sample.conversation.messages == ()
    replies = ["I need a train to Ely.", SEARCH, ANSWER, "Great, thanks. [END]"]
    engine = ScriptedEngine(replies)
    params = SamplingParams(max_new_tokens=100_000, stop=task.stop)
    conversation = run_one(task.rollout(sample), engine, params)
    assert [m.role for m in conversation.messages] == ["user", "assistant", "tool", "assistant"]
    first, last = engine.prompts[0], engine.prompts[-1]
    assert "You want a train" in first[0].content  # the goal, in words
    assert [turn.role for turn in first] == ["system", "user"]
    assert [turn.role for turn in last] == ["system", "user", "assistant", "user"]
    assert last[2].content == "I need a train to Ely."
    assert "TR0001" in last[3].content  # only what is said aloud reaches the user
    assert "query_trains" not in last[3].content
    score = task.score(sample, conversation)
    assert score.values["inform"] == 1.0
    figures = task.aggregate(add_up([score]))
    assert set(task.main_figures) <= figures.keys()
    assert not any("jga" in name or "strict" in name for name in figures)


def test_the_goal_is_told_without_markup() -> None:
    dialogue = Dialogue("d", {}, ("You want a <span class='emphasis'>cheap hotel</span>",), ())
    prompt = next(SimulatedUser(None).speak(dialogue, Conversation(id="d")))
    assert "- You want a cheap hotel\n" in prompt[0].content


def test_a_user_who_never_ends_is_ended(make: Callable[..., MultiWoz]) -> None:
    task = make(max_turns=3)
    sample = task.samples()[0]

    def reply(prompt: Prompt) -> str:
        return "Hello?" if prompt[0].role == "system" else "System: Yes?"

    params = SamplingParams(max_new_tokens=100_000)
    conversation = run_one(task.rollout(sample), ScriptedEngine(reply), params)
    assert len([m for m in conversation.messages if m.role == "user"]) == 3


def test_a_user_with_a_model_of_its_own(make: Callable[..., MultiWoz], tmp_path: Path) -> None:
    script = tmp_path / "user.jsonl"
    script.write_text(
        "".join(json.dumps({"text": t}) + "\n" for t in ("A train to Ely, please.", "[END]"))
    )
    task = make(simulator={"model": {"model_name": str(script)}, "engine": "SCRIPTED"})
    sample = next(sample for sample in task.samples() if sample.id == "sng0002")
    engine = ScriptedEngine([SEARCH, ANSWER])
    conversation = run_one(task.rollout(sample), engine, SamplingParams(max_new_tokens=100_000))
    assert conversation.messages[0].content == "A train to Ely, please."
    assert len(engine.prompts) == 2


def test_instructions_without_a_place_for_the_goal(tmp_path: Path) -> None:
    path = tmp_path / "user.txt"
    path.write_text("Say hello.")
    with pytest.raises(ConfigError, match=r"user_instructions: .*user.txt has no \{goal\} in it"):
        SimulatedUser(None, path)
    with pytest.raises(ConfigError, match="cannot be read"):
        SimulatedUser(None, tmp_path / "none.txt")
