"""Jobs that come one by one: pieces, answers, settings of their own, leaving."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from coalm.engines import Completion, Engine, SamplingParams
from coalm.engines.answers import Answer
from coalm.engines.scripted import ScriptedEngine
from coalm.engines.stops import find_stop, settled
from coalm.engines.streams import Job, Piece, TokenEngine, stream
from coalm.errors import EngineError
from coalm.types import ChatTurn, Prompt


def ask(text: str) -> Prompt:
    return (ChatTurn("user", text),)


def make_scripted(folder: Path) -> Engine:
    return ScriptedEngine(lambda prompt: f"{prompt[-1].content} " + "and so on " * 20)


def make_hf(folder: Path) -> Engine:
    pytest.importorskip("transformers")
    from coalm.engines.hf import HfEngine

    return HfEngine(folder, dtype="float32", batch_size=2)


def make_vllm(folder: Path) -> Engine:
    pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")
    from coalm.engines.config import VllmConfig
    from coalm.engines.vllm import VllmEngine

    return VllmEngine(folder, dtype="float32", settings=VllmConfig(enforce_eager=True))


class Whole:
    """An engine that gives whole answers only."""

    def __init__(self, folder: Path) -> None:
        self._engine = make_scripted(folder)
        self.sizes: list[int] = []

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        self.sizes.append(len(prompts))
        return self._engine.generate(prompts, params)

    def close(self) -> None:
        self._engine.close()


MAKERS: dict[str, Callable[[Path], Engine]] = {
    "scripted": make_scripted,
    "hf": make_hf,
    "vllm": make_vllm,
    "whole": Whole,
}
VLLM_MARKS = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]
NAMES = [pytest.param(name, marks=VLLM_MARKS if name == "vllm" else []) for name in MAKERS]


@pytest.fixture(scope="module", params=NAMES)
def engine(request: pytest.FixtureRequest, model_for: Callable[[str], Path]) -> Iterator[Engine]:
    made = MAKERS[request.param](model_for(request.param))
    yield made
    made.close()


SETTINGS = [
    SamplingParams(max_new_tokens=12),
    SamplingParams(max_new_tokens=20, stop=("so", "\n")),
    SamplingParams(max_new_tokens=9, temperature=0.9, seed=5),
    SamplingParams(max_new_tokens=9, temperature=1.4, top_p=0.8, seed=5),
    SamplingParams(max_new_tokens=1),
]
JOBS = [(ask(text), params) for text in ("Hi", "Find a restaurant, please") for params in SETTINGS]


def run(engine: Engine, jobs: Sequence[Job]) -> tuple[list[str], list[Any]]:
    """The pieces of every job, joined; and the outcomes."""
    said, outcomes = [""] * len(jobs), [None] * len(jobs)
    for event in stream(engine, jobs):
        assert outcomes[event.place] is None, "nothing comes after the answer"
        if isinstance(event, Piece):
            assert event.text
            said[event.place] += event.text
        else:
            outcomes[event.place] = event.outcome
    return said, outcomes


def test_a_stream_comes_to_what_generate_gives(engine: Engine) -> None:
    said, outcomes = run(engine, [Job(*job) for job in JOBS])
    for text, outcome, (prompt, params) in zip(said, outcomes, JOBS, strict=True):
        assert outcome == engine.generate([prompt], params)[0]
        assert outcome.text.startswith(text)
    if isinstance(engine, TokenEngine):
        assert any(said)


def test_jobs_enter_while_others_run_and_none_is_no_end(engine: Engine) -> None:
    events: list[Piece | Answer] = []

    def coming() -> Iterator[Job | None]:
        yield Job(*JOBS[0])
        yield None
        yield Job(*JOBS[1])
        while sum(isinstance(event, Answer) for event in events) < 2:
            yield None
        yield Job(*JOBS[2])

    for event in stream(engine, coming()):
        events.append(event)
    answers = {event.place: event.outcome for event in events if isinstance(event, Answer)}
    expected = [engine.generate([prompt], params)[0] for prompt, params in JOBS[:3]]
    assert [answers[place] for place in range(3)] == expected


def test_an_abandoned_job_ends_and_the_others_go_on(engine: Engine) -> None:
    jobs = [Job(ask("Hi"), SETTINGS[0]), Job(ask("Bye"), SETTINGS[0])]
    found: dict[int, Any] = {}
    for event in stream(engine, jobs):
        jobs[0].abandoned = isinstance(engine, TokenEngine)
        if isinstance(event, Answer):
            found[event.place] = event.outcome
    assert isinstance(found[0], EngineError) == isinstance(engine, TokenEngine)
    assert found[1] == engine.generate([ask("Bye")], SETTINGS[0])[0]


def test_a_closed_engine_says_so(tiny_model: Path) -> None:
    engine = make_scripted(tiny_model)
    engine.close()
    _, (outcome,) = run(engine, [Job(*JOBS[0])])
    assert "closed" in str(outcome)


def test_an_engine_without_pieces_gets_those_who_wait_together(tiny_model: Path) -> None:
    engine = Whole(tiny_model)
    run(engine, [Job(*job) for job in JOBS])
    assert engine.sizes == [2] * len(SETTINGS)


def test_one_prompt_that_is_too_long_is_not_the_others_fault(tiny_model: Path) -> None:
    engine = make_hf(tiny_model)
    jobs = [Job(ask("word " * 2000), SETTINGS[0]), Job(ask("Hi"), SETTINGS[0])]
    _, (long, short) = run(engine, jobs)
    engine.close()
    assert "the context of" in str(long)
    assert isinstance(short, Completion)


@pytest.mark.parametrize("stop", [(), ("ab",), ("aab", "ba"), ("\nUser:", "\n\n")])
def test_nothing_that_is_settled_is_taken_back(stop: tuple[str, ...]) -> None:
    numbers = random.Random(1)
    for _ in range(300):
        text = "".join(numbers.choice("ab\nUser:") for _ in range(12))
        whole = text[: find_stop(text, stop)]
        held, given = "", ""
        for sign in whole:
            held += sign
            end = settled(held, stop)
            given, held = given + held[:end], held[end:]
        assert whole.startswith(given)
        assert len(whole) - len(given) < max(map(len, stop), default=1)


def test_characters_of_several_tokens_come_whole(tiny_model: Path) -> None:
    pytest.importorskip("transformers")
    from coalm.chat_template import load_tokenizer
    from coalm.engines.token_text import GrowingText, decode

    tokenizer = load_tokenizer(tiny_model)
    text = "Grüße, 東京 😀 in San Jose\n  first\nUs"
    ids = tokenizer.encode(text, add_special_tokens=False)
    growing = GrowingText(tokenizer, 0, ("\nUser:",))
    pieces = [growing.grown(ids[: at + 1]) for at in range(len(ids))]
    assert decode(tokenizer, ids) == text
    assert "".join(pieces) == text.removesuffix("\nUs")
    assert not any("\ufffd" in piece for piece in pieces)
