from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from coalm.agent.rollout import run_one
from coalm.engines.base import SamplingParams
from coalm.engines.scripted import ScriptedEngine
from coalm.errors import EngineError
from coalm.evals.base import Sample, add_up
from coalm.evals.multiwoz.oracle import Oracle
from coalm.evals.multiwoz.task import MultiWoz, MultiWozConfig
from coalm.types import Conversation, Prompt

Make = Callable[..., MultiWoz]


@pytest.fixture
def make(write_release: Callable[..., Path]) -> Make:
    """A task over the made-up release."""
    place = write_release()

    def task(**settings: Any) -> MultiWoz:
        return MultiWoz(MultiWozConfig.model_validate({"data_dir": place, **settings}))

    return task


def run(
    task: MultiWoz, sample: Sample, replies: Iterable[str] | Callable[[Prompt], str]
) -> tuple[Conversation, list[Prompt]]:
    engine = ScriptedEngine(replies)
    params = SamplingParams(max_new_tokens=100_000, stop=task.stop)
    return run_one(task.rollout(sample), engine, params), engine.prompts


def train(task: MultiWoz) -> Sample:
    return next(sample for sample in task.samples() if sample.id == "sng0002")


SEARCH = (
    'Thought: I search.\nAction: query_trains(departure="cambridge", destination="ely", '
    'day="monday", arriveBy="10:00")'
)
ANSWER = "Thought: I say it.\nSystem: TR0001 leaves at 09:00 for 4.40 pounds."
BYE = "Thought: Done.\nSystem: Bye!"
STATE = (
    'System: {"domain": "train", "slot_values": {"departure": "cambridge", "destination": "ely", '
    '"day": "monday", "arriveBy": "10:00"}}'
)


def test_samples_are_the_dialogues_that_papers_report(make: Make) -> None:
    samples = make().samples()
    assert [sample.id for sample in samples] == ["mul0001", "sng0002"]
    assert [sample.groups for sample in samples] == [("two", "all"), ("one", "all")]
    first = samples[0]
    assert [message.role for message in first.conversation.messages] == ["user"] * 3
    assert isinstance(first.target, dict)
    assert list(first.target) == ["restaurant", "hotel"]


def test_the_prompt_never_holds_the_goal(make: Make) -> None:
    task = make()
    _, prompts = run(task, task.samples()[0], lambda prompt: "System: hm")
    text = " ".join(prompt[-1].content for prompt in prompts)
    assert "guesthouse." in text
    for secret in ("Golden Lantern", "AB12CD34", "guest house"):
        assert secret not in text


def test_the_live_loop_replays_the_user_and_remembers_the_agent(make: Make) -> None:
    task = make()
    conversation, prompts = run(task, train(task), [SEARCH, ANSWER, BYE])
    assert [message.role for message in conversation.messages] == [
        *("user", "assistant", "tool", "assistant"),
        *("user", "assistant"),
    ]
    assert "Observation: " not in prompts[0][-1].content
    assert '"TR0001"' in prompts[1][-1].content
    assert "Observation: " in prompts[2][-1].content
    assert "TR0001 leaves at 09:00" in prompts[2][-1].content
    score = task.score(train(task), conversation)
    assert score.verdict == "success"
    assert (score.values["inform"], score.values["success"]) == (1.0, 1.0)
    assert score.values["jga fuzzy"] == 2.0
    assert score.metadata["right"] == [True, True]
    assert score.metadata["success"] == {"train": True}


def test_only_what_was_said_aloud_can_be_remembered(make: Make) -> None:
    task = make(history="spoken")
    conversation, prompts = run(task, train(task), [SEARCH, ANSWER, BYE])
    assert "Observation: " in prompts[1][-1].content
    assert "Observation: " not in prompts[2][-1].content
    assert "TR0001 leaves at 09:00" in prompts[2][-1].content
    assert len(conversation.messages) == 6
    assert task.score(train(task), conversation).verdict == "success"


def test_a_turn_without_an_answer_ends_at_the_limit(make: Make) -> None:
    task = make(max_steps=2)
    conversation, _ = run(task, train(task), [SEARCH, "Action: query_hotels()", BYE])
    assert conversation.meta["stops"] == [{"turn": 1, "reason": "max_steps"}]
    score = task.score(train(task), conversation)
    assert score.verdict == "nothing offered"


def test_the_state_can_be_asked_for(make: Make) -> None:
    task = make(states="prompt")
    conversation, prompts = run(task, train(task), [STATE, BYE, "System: [", BYE])
    assert "- train: departure, destination" in prompts[0][-1].content
    assert "query_trains" in prompts[1][-1].content
    assert "System: Bye!" in prompts[2][-1].content
    states = conversation.meta["states"]
    assert isinstance(states, list)
    assert states[1] is None
    score = task.score(train(task), conversation)
    assert score.metadata["right"] == [True, False]
    assert score.values["jga fair"] == 1.0


def test_state_tracking_alone_reads_the_corpus(make: Make) -> None:
    task = make(mode="states")
    sample = train(task)
    conversation, prompts = run(task, sample, [STATE, "System: []"])
    assert "TR0001 leaves at 09:00 ." in prompts[1][-1].content
    assert conversation.messages == sample.conversation.messages
    score = task.score(sample, conversation)
    assert (score.verdict, score.metadata["right"]) == ("some right", [True, False])
    assert "inform" not in score.values
    figures = task.aggregate(add_up([score]))
    assert set(figures) == set(task.figures)
    assert figures["jga fuzzy"] == 50.0
    assert task.score(sample, None).verdict == "none right"


def test_odd_states_are_read_as_far_as_they_are_states(make: Make) -> None:
    task = make(mode="states")
    sample = train(task)
    meta: Any = {"states": [{" Train ": {"arriveBy": "9:00", "day": None}, "hotel": 5}, "x"]}
    score = task.score(sample, sample.conversation.model_copy(update={"meta": meta}))
    assert score.metadata["states"] == [{"train": {"arrive": "9:00"}}, None]


def test_function_calling_models_get_their_own_prompt(make: Make) -> None:
    task = make(format="json_calls")
    call = (
        '```\n[{"name": "query_trains", "arguments": {"day": "monday", "arriveBy": "10:00"}}]\n```'
    )
    conversation, prompts = run(task, train(task), [call, "TR0001 fits.", "Bye!"])
    assert "[BEGIN OF AVAILABLE TOOLS]" in prompts[0][-1].content
    assert "plain words" in prompts[0][-1].content
    assert task.score(train(task), conversation).verdict == "success"


def test_texts_can_be_replaced_and_are_noted(make: Make, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("Be brief. {context}{tools}{history}")
    states = tmp_path / "states.txt"
    states.write_text("Track. {context}{count}{tools}")
    task = make(instructions=own, state_instructions=states, states="prompt")
    _, prompts = run(task, train(task), ["[]", BYE] * 2)
    assert prompts[0][-1].content.startswith("Track. 5- restaurant")
    assert prompts[1][-1].content.startswith("Be brief. 1. query_restaurants")
    before, after = make(states="prompt").provenance(), task.provenance()
    assert before["format"] == after["format"] == "react, dst"
    assert before["format_version"] != after["format_version"]
    assert before["data"] == after["data"]
    assert isinstance(after["data"], dict)
    assert len(after["data"]) == 6


def test_provenance_says_where_states_come_from(make: Make) -> None:
    assert make().provenance()["states"] == "calls"
    assert make(states="prompt").provenance()["states"] == "prompt"
    tracking = make(mode="states").provenance()
    assert (tracking["states"], tracking["format"]) == ("prompt", "dst")


def test_a_failed_dialogue_is_wrong_everywhere(make: Make) -> None:
    for task in (make(), make(states="prompt")):
        score = task.score(task.samples()[0], None)
        assert score.verdict == "no dialogue"
        assert score.values["turns"] == 3.0
        assert (score.values["inform"], score.values["jga fuzzy"]) == (0.0, 0.0)
        assert set(task.aggregate(add_up([score]))) == set(task.figures)


def test_an_engine_that_fails_ends_the_dialogue(make: Make) -> None:
    task = make()
    with pytest.raises(EngineError, match="no reply left"):
        run(task, train(task), [SEARCH])


def test_stop_texts_are_those_of_the_formats_in_use(make: Make) -> None:
    assert "\nObservation:" in make().stop
    assert make(format="json_calls").stop == ()
    assert make(mode="states").stop == ("\nUser:",)


def test_the_oracle_succeeds_everywhere(make: Make) -> None:
    task = make()
    for sample in task.samples():
        dialogue = task._corpus.dialogues[sample.id]
        conversation, _ = run(task, sample, Oracle(dialogue))
        assert task.score(sample, conversation).verdict == "success"


def test_an_agent_that_says_nothing_fails(make: Make) -> None:
    task = make()
    scores = []
    for sample in task.samples():
        conversation, _ = run(task, sample, lambda prompt: "System:")
        scores.append(task.score(sample, conversation))
    assert {score.verdict for score in scores} == {"no answer"}
    assert task.aggregate(add_up(scores))["inform"] == 0.0
