from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest

from coalm.agent.rollout import Rollout, run_many, run_one
from coalm.engines.answers import Answer
from coalm.engines.base import Completion, SamplingParams, Usage
from coalm.errors import CoalmError, EngineError, ToolError
from coalm.types import ChatTurn, Conversation, Message, Prompt

PARAMS = SamplingParams()


class EchoEngine:
    """Answers `<prompt>!` and remembers every batch it was given."""

    def __init__(self, refuse: Callable[[str], bool] = lambda text: False) -> None:
        self.batches: list[list[str]] = []
        self.refuse = refuse

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        texts = [prompt[-1].content for prompt in prompts]
        self.batches.append(texts)
        for text in texts:
            if self.refuse(text):
                raise EngineError(f"prompt {text!r} does not fit")
        return [Completion(f"{text}!", (), "stop", Usage(len(text), 1)) for text in texts]

    def close(self) -> None:
        pass


class EchoStream(EchoEngine):
    """Answers one prompt at a time, the one that came last first; takes `places` at once."""

    def __init__(self, places: int, refuse: Callable[[str], bool] = lambda text: False) -> None:
        super().__init__(refuse)
        self.places = places
        self.most = 0

    def answers(self, prompts: Iterable[Prompt | None], params: SamplingParams) -> Iterator[Answer]:
        coming, numbers = iter(prompts), itertools.count()
        running: list[tuple[int, Prompt]] = []
        while True:
            while len(running) < self.places and (prompt := next(coming, None)):
                running.append((next(numbers), prompt))
            if not running:
                return
            self.most = max(self.most, len(running))
            place, prompt = running.pop()
            try:
                yield Answer(place, self.generate([prompt], params)[0])
            except EngineError as e:
                yield Answer(place, e)


def ask(name: str, times: int) -> Rollout:
    conversation = Conversation(id=name)
    for number in range(times):
        completion = yield (ChatTurn("user", f"{name}{number}"),)
        conversation = conversation.extended(Message(role="assistant", content=completion.text))
    return conversation


def ask_then_fail(name: str, error: Exception) -> Rollout:
    yield (ChatTurn("user", f"{name}0"),)
    raise error


def words(conversation: Conversation | None) -> list[str]:
    assert conversation is not None
    return [message.content for message in conversation.messages]


def test_run_one_returns_the_conversation() -> None:
    assert words(run_one(ask("a", 3), EchoEngine(), PARAMS)) == ["a0!", "a1!", "a2!"]


def test_run_one_needs_no_engine_for_a_rollout_without_prompts() -> None:
    engine = EchoEngine()
    assert run_one(ask("a", 0), engine, PARAMS).messages == ()
    assert engine.batches == []


@pytest.mark.parametrize("error", [ToolError("no such tool"), KeyError("defect")])
def test_run_one_passes_errors_on(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        run_one(ask_then_fail("a", error), EchoEngine(), PARAMS)


def test_run_one_closes_the_rollout_when_the_engine_is_interrupted() -> None:
    def interrupt(text: str) -> bool:
        raise KeyboardInterrupt

    rollout = ask("a", 1)
    with pytest.raises(KeyboardInterrupt):
        run_one(rollout, EchoEngine(interrupt), PARAMS)
    assert rollout.gi_frame is None


@pytest.mark.parametrize("places", [1, 2, 3, 100])
def test_an_engine_that_streams_is_never_short_of_prompts(places: int) -> None:
    engine = EchoStream(places, refuse=lambda text: text == "r6-1")
    rollouts = [(f"r{n}-", ask(f"r{n}-", n % 4)) for n in range(30)]
    found = {done.id: done for done in run_many(rollouts, engine, PARAMS, batch_size=5)}
    assert engine.most == min(places, 10)  # twice as many as asked for, to choose from
    assert str(found.pop("r6-").error) == "prompt 'r6-1' does not fit"
    for name, done in found.items():
        count = int(name[1:-1]) % 4
        assert words(done.conversation) == [f"{name}{number}!" for number in range(count)]
    assert len(found) == 29


def test_run_many_gives_each_rollout_its_own_answers() -> None:
    lengths = {f"r{n}-": n % 4 for n in range(11)}
    rollouts = [(name, ask(name, times)) for name, times in lengths.items()]
    finished = {f.id: f for f in run_many(rollouts, EchoEngine(), PARAMS, 3)}
    assert finished.keys() == lengths.keys()
    for name, times in lengths.items():
        assert words(finished[name].conversation) == [f"{name}{n}!" for n in range(times)]
        assert finished[name].error is None
        assert finished[name].seconds >= 0


def test_run_many_refills_so_that_batches_stay_full() -> None:
    engine = EchoEngine()
    rollouts = [("long", ask("long", 6)), *((f"s{n}", ask(f"s{n}", 1)) for n in range(6))]
    ids = [f.id for f in run_many(rollouts, engine, PARAMS, 2)]
    assert [len(batch) for batch in engine.batches] == [2] * 6
    assert ids == ["s0", "s1", "s2", "s3", "s4", "long", "s5"]


def test_run_many_reads_rollouts_only_as_places_get_free() -> None:
    started: list[int] = []

    def source() -> Iterator[tuple[str, Rollout]]:
        for number in range(100):
            started.append(number)
            yield str(number), ask("a", 1)

    running = run_many(source(), EchoEngine(), PARAMS, 4)
    assert started == []
    next(running)
    assert started == [0, 1, 2, 3]
    running.close()


def test_usage_is_summed_per_rollout() -> None:
    finished = {
        f.id: f.usage
        for f in run_many([("a", ask("a", 3)), ("bb", ask("bb", 1))], EchoEngine(), PARAMS, 8)
    }
    assert finished == {"a": Usage(6, 3), "bb": Usage(3, 1)}


def test_an_error_in_one_rollout_ends_only_that_one() -> None:
    rollouts = [("a", ask("a", 2)), ("bad", ask_then_fail("bad", ToolError("broken")))]
    finished = {f.id: f for f in run_many(rollouts, EchoEngine(), PARAMS, 2)}
    assert words(finished["a"].conversation) == ["a0!", "a1!"]
    assert finished["bad"].conversation is None
    assert isinstance(finished["bad"].error, ToolError)
    assert finished["bad"].usage == Usage(4, 1)


def test_a_prompt_that_the_engine_refuses_does_not_spoil_its_neighbours() -> None:
    engine = EchoEngine(lambda text: text == "bad0")
    rollouts = [("a", ask("a", 2)), ("bad", ask("bad", 2)), ("c", ask("c", 1))]
    finished = {f.id: f for f in run_many(rollouts, engine, PARAMS, 3)}
    assert engine.batches == [["a0", "bad0", "c0"], ["a0"], ["bad0"], ["c0"], ["a1"]]
    assert words(finished["a"].conversation) == ["a0!", "a1!"]
    assert words(finished["c"].conversation) == ["c0!"]
    assert str(finished["bad"].error) == "prompt 'bad0' does not fit"


def test_a_rollout_may_end_in_its_own_state_when_the_engine_refuses() -> None:
    def careful() -> Rollout:
        try:
            yield (ChatTurn("user", "bad"),)
        except EngineError as error:
            return Conversation(id="careful", meta={"stopped": str(error)})
        return Conversation(id="careful")

    (finished,) = run_many([("x", careful())], EchoEngine(lambda text: True), PARAMS, 1)
    assert finished.conversation is not None
    assert finished.conversation.meta == {"stopped": "prompt 'bad' does not fit"}


@pytest.mark.parametrize("error", [KeyError("defect"), KeyboardInterrupt()])
def test_anything_else_stops_the_run_and_closes_what_is_live(error: BaseException) -> None:
    def fail() -> Rollout:
        yield (ChatTurn("user", "a"),)
        raise error

    neighbour = ask("b", 5)
    rollouts = [("first", ask("f", 1)), ("bad", fail()), ("b", neighbour)]
    running = run_many(rollouts, EchoEngine(), PARAMS, 3)
    assert next(running).id == "first"
    with pytest.raises(type(error)):
        next(running)
    assert neighbour.gi_frame is None


def test_a_caller_that_stops_reading_closes_what_is_live() -> None:
    neighbour = ask("b", 5)
    running = run_many([("a", ask("a", 1)), ("b", neighbour)], EchoEngine(), PARAMS, 2)
    assert next(running).id == "a"
    running.close()
    assert neighbour.gi_frame is None


def test_batch_size_must_be_positive() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        run_many([], EchoEngine(), PARAMS, 0)


def test_errors_are_kept_as_coalm_errors() -> None:
    (finished,) = run_many([("x", ask_then_fail("x", CoalmError("why")))], EchoEngine(), PARAMS, 1)
    assert repr(finished.error) == "CoalmError('why')"
