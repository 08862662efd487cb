from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import cast

import pytest

from coalm.agent.rollout import Rollout
from coalm.data.sgd import today
from coalm.engines.base import Completion, Usage
from coalm.evals.base import Sample, add_up
from coalm.evals.world.errands import Errand, agrees
from coalm.evals.world.oracle import Oracle, Patient
from coalm.evals.world.score import DONE, KINDS
from coalm.evals.world.steps import Dialogue, Turn, read_dialogue, rows_of
from coalm.evals.world.task import World, WorldConfig
from coalm.evals.world.user import ScriptedUser, asked_for
from coalm.formats import get_format
from coalm.types import Conversation, Message, Prompt, ToolCall
from coalm.world.package_files import read_yaml
from coalm.world.rules import TODAY_TEXT
from coalm.world.schema import DONTCARE, Service, services
from coalm.world.tools import world_database, world_toolbox
from coalm.world.wording import by_value, names, sentences

Agent = Callable[[Prompt], Message]
COUNT = 60
PAYEE = world_database(0).search("payees", ["recipient_name"], {})[0]["recipient_name"]
SEND = ToolCall(name="SendMoney", arguments={"recipient_name": PAYEE, "amount": 5})


def talk(rollout: Rollout, agent: Agent) -> Conversation:
    """Run a rollout with an agent in place of the engine."""
    form = get_format("react")
    prompt = next(rollout)
    while True:
        completion = Completion(
            text=form.render_reply(agent(prompt)),
            token_ids=(),
            finish_reason="stop",
            usage=Usage(prompt_tokens=1, completion_tokens=1),
        )
        try:
            prompt = rollout.send(completion)
        except StopIteration as stop:
            return stop.value


def silent(prompt: Prompt) -> Message:
    """Never does anything."""
    return Message(role="assistant", content="I see.")


@pytest.fixture(scope="module")
def task() -> World:
    return World(WorldConfig(errands=COUNT))


@pytest.fixture(scope="module")
def samples(task: World) -> list[Sample]:
    return task.samples()


def verdict(task: World, sample: Sample, agent: Agent) -> str:
    return task.score(sample, talk(task.rollout(sample), agent)).verdict


def errand(sample: Sample) -> Errand:
    return Errand.model_validate(sample.target)


def booking(samples: list[Sample]) -> Sample:
    """One that is a search for a restaurant and a table in it."""
    wanted = ["SearchRestaurants", "BookTable"]
    return next(s for s in samples if [want.intent for want in errand(s).wants] == wanted)


def test_who_knows_everything_gets_everything_done(task: World, samples: list[Sample]) -> None:
    scores = [task.score(s, talk(task.rollout(s), Oracle(s))) for s in samples]
    assert {score.verdict for score in scores} == {DONE}
    figures = task.aggregate(add_up(scores))
    assert (figures["success"], figures["wants"]) == (100.0, 100.0)
    assert set(figures) == set(task.figures)


def test_who_does_nothing_gets_nothing_done(task: World, samples: list[Sample]) -> None:
    scores = [task.score(s, talk(task.rollout(s), silent)) for s in samples]
    assert {score.verdict for score in scores} == {"never called"}
    assert task.aggregate(add_up(scores))["success"] == 0.0


def test_an_agent_that_asks_offers_and_confirms_is_understood(
    task: World, samples: list[Sample]
) -> None:
    found = Counter(verdict(task, sample, Patient(sample)) for sample in samples)
    assert found[DONE] >= 0.97 * len(samples), found


class Mishearing(Patient):
    """Has another value confirmed than it was told."""

    def __init__(self, sample: Sample, **wrong: str) -> None:
        super().__init__(sample)
        self._wrong = wrong

    def __call__(self, prompt: Prompt) -> Message:
        message = super().__call__(prompt)
        if self._confirmed is None:
            return message
        values = self._confirmed | self._wrong
        return message.model_copy(
            update={"content": f"Please confirm: {', '.join(values.values())}"}
        )


@pytest.mark.parametrize(
    "wrong", [{"time": "23:45"}, {"date": "2019-03-31"}, {"city": "Westhaven"}, {}], ids=str
)
def test_a_wrong_confirmation_is_corrected(
    task: World, samples: list[Sample], wrong: dict[str, str]
) -> None:
    sample = booking(samples)
    conversation = talk(task.rollout(sample), Mishearing(sample, **wrong))
    turns = read_dialogue(conversation).turns
    at = next(n for n, turn in enumerate(turns) if turn.reply.startswith("Please confirm"))
    slots, row = services()["Dining_1"].slots, errand(sample).wants[-1].row
    answer = turns[at + 1].user
    corrected = {s for s in ("time", "date", "city") if names(answer, slots[s], row[s])}
    assert corrected == wrong.keys()
    assert task.score(sample, conversation).verdict == DONE


@pytest.mark.parametrize("service", services().values(), ids=lambda service: service.name)
def test_every_question_of_the_world_is_understood(service: Service) -> None:
    questions = [
        (intent.inputs, slot, question)
        for intent in service.intents.values()
        for slot in intent.inputs
        for wording in by_value(service.ask.get(slot, ()), "")
        for question in sentences(wording)
    ]
    assert len(questions) > 5
    for inputs, slot, question in questions:
        assert asked_for(service.name, inputs, question) == [slot], question


def answered(wanted: Errand, reply: str, *, times: int) -> list[Turn]:
    """What the user says to an agent that has one reply to everything."""
    user, turns = ScriptedUser(wanted), list[Turn]()
    for _ in range(times):
        turns.append(Turn(user.speak(Dialogue(turns, [])) or "", reply))
    return turns


@pytest.mark.parametrize("reply", ["Which hotel would you like?", "Is there anything else?"])
def test_a_question_out_of_place_is_answered_with_the_whole_request(
    samples: list[Sample], reply: str
) -> None:
    wanted = errand(booking(samples))
    turns = answered(wanted, reply, times=4)
    slots, wishes = services()["Dining_1"].slots, wanted.wants[0].wishes
    said = {s for s, value in wishes.items() if names(turns[-1].user, slots[s], value)}
    assert said == {slot for slot, value in wishes.items() if value != DONTCARE}


def test_another_showing_in_the_right_cinema_is_not_the_one(
    task: World, samples: list[Sample]
) -> None:
    slot, answers = services()["Cinema_1"].slots["show_time"], list[str]()
    for sample in samples:
        for want in (w for w in errand(sample).wants if w.intent == "GetShowings"):
            call = ToolCall(name=want.intent, arguments=dict(want.wishes))
            first = (rows_of(world_toolbox(0).execute(call).content) or [])[0]
            same = first["cinema_name"] == want.row.get("cinema_name")
            if same and not agrees(first, want.row):
                turns = read_dialogue(talk(task.rollout(sample), Patient(sample))).turns
                heard = (names(turn.reply, slot, first["show_time"]) for turn in turns)
                answers.append(turns[[*heard].index(True) + 1].user)
    assert answers
    others = wordings("alternatives")
    assert all(answer.casefold().startswith(others) for answer in answers)


def wordings(kind: str) -> tuple[str, ...]:
    """All that people say for it, in lower case."""
    listed = cast("list[str]", read_yaml("common.yaml")[kind])
    return tuple(one.casefold() for wording in listed for one in sentences(wording))


def test_who_is_asked_for_the_same_again_says_more(samples: list[Sample]) -> None:
    slots, patient = services()["Rail_1"].slots, 0
    for wanted in (e for e in map(errand, samples) if e.wants[0].intent == "SearchTrains"):
        wishes, turns = wanted.wants[0].wishes, answered(wanted, "Where do you start?", times=3)
        said = [{s for s, v in wishes.items() if names(t.user, slots[s], v)} for t in turns]
        if wishes.keys() - said[0] - said[1]:
            assert len(said[2] - said[0] - said[1]) == 1
            assert "origin" in said[2]
            patient += 1
    assert patient


def test_a_confirmation_of_something_else_is_refused(samples: list[Sample]) -> None:
    reply = "Please confirm: a van from Mill Lane to Elm Grove."
    turns = answered(errand(booking(samples)), reply, times=4)
    assert turns[-1].user.casefold().startswith(wordings("negate"))


def test_a_question_whether_to_go_ahead_is_agreed_to(samples: list[Sample]) -> None:
    turns = answered(errand(booking(samples)), "Shall I do that?", times=4)
    assert turns[-1].user.casefold() in wordings("affirm")


def test_errands_are_drawn_anew_with_another_number_only(samples: list[Sample]) -> None:
    assert World(WorldConfig(errands=COUNT)).samples() == samples
    assert World(WorldConfig(errands=COUNT, draw=2)).samples() != samples
    assert len({sample.id for sample in samples}) == COUNT


def test_an_oracle_that_hides_the_results_has_not_told(task: World, samples: list[Sample]) -> None:
    sample = next(s for s in samples if errand(s).wants[-1].asks)
    hidden = errand(sample).wants[-1].asks
    assert verdict(task, sample, Oracle(sample, hide=hidden)) == "not told"


def test_what_was_never_called_is_named(task: World, samples: list[Sample]) -> None:
    sample = booking(samples)
    score = task.score(sample, talk(task.rollout(sample), Oracle(sample, skip=["BookTable"])))
    assert (score.verdict, score.explanation) == ("never called", "BookTable")
    assert score.parts == {"1. SearchRestaurants": True, "2. BookTable": False}


class Altering(Oracle):
    """Makes another call than the right one."""

    def __init__(self, sample: Sample, name: str, changes: dict[str, str]) -> None:
        super().__init__(sample)
        self._name = name
        self._changes = changes

    def __call__(self, prompt: Prompt) -> Message:
        message = super().__call__(prompt)
        calls = [
            c.model_copy(update={"arguments": {**c.arguments, **self._changes}})
            if c.name == self._name
            else c
            for c in message.tool_calls
        ]
        return message.model_copy(update={"tool_calls": tuple(calls)})


class Adding(Oracle):
    """Sends money along with everything."""

    def __call__(self, prompt: Prompt) -> Message:
        message = super().__call__(prompt)
        if not message.tool_calls:
            return message
        return message.model_copy(update={"tool_calls": (*message.tool_calls, SEND)})


def test_another_booking_than_the_one_that_was_wished(task: World, samples: list[Sample]) -> None:
    sample = booking(samples)
    want = errand(sample).wants[-1]
    size = "1" if want.row["party_size"] != "1" else "2"
    agent = Altering(sample, "BookTable", {"party_size": size})
    assert verdict(task, sample, agent) in ("wrong arguments", "booked too early")
    refused = Altering(sample, "BookTable", {"restaurant_name": "Nowhere"})
    assert verdict(task, sample, refused) == "call failed"


def test_a_change_that_nobody_wanted(task: World, samples: list[Sample]) -> None:
    sample = booking(samples)
    assert verdict(task, sample, Adding(sample)) == "booked something else"


def test_another_function_than_the_right_one(task: World, samples: list[Sample]) -> None:
    sample = booking(samples)

    def send_money(prompt: Prompt) -> Message:
        if prompt[-1].content.endswith("]"):
            return Message(role="assistant", content="Done.")
        return Message(role="assistant", tool_calls=(SEND,))

    assert verdict(task, sample, send_money) == "wrong function"


def test_a_failed_dialogue_is_a_failure(task: World, samples: list[Sample]) -> None:
    score = task.score(samples[0], None)
    assert score.verdict == "no dialogue"
    assert score.verdict in KINDS


def test_the_prompt_is_that_of_the_training_data(samples: list[Sample]) -> None:
    system = samples[0].conversation.messages[0]
    assert system.content == TODAY_TEXT == today().content


def test_signatures_alone_are_shown_where_that_is_asked_for() -> None:
    task = World(WorldConfig(errands=1, tool_text="signatures"))
    prompt = next(task.rollout(task.samples()[0]))
    assert "SendMoney(recipient_name, amount, account_type?)\n" in prompt[-1].content
    assert get_format("react").stop == task.stop
