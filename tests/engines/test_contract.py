"""What holds for every engine; a new engine is one more entry of `ENGINE_MAKERS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coalm.engines import ENGINES, Engine, SamplingParams
from coalm.engines.scripted import ScriptedEngine
from coalm.engines.scripted_endpoint import ScriptedEndpoint
from coalm.errors import EngineError
from coalm.types import ChatTurn, Prompt

GREEDY = SamplingParams(max_new_tokens=12)


def ask(text: str) -> Prompt:
    return (ChatTurn("system", "Be brief."), ChatTurn("user", text))


PROMPTS = [ask("Hi"), ask("Find a restaurant in San Jose, please, for two people"), ask("Bye?")]


def make_scripted(folder: Path) -> Engine:
    """A talkative engine whose answer depends on the prompt."""
    return ScriptedEngine(lambda prompt: f"{prompt[-1].content} " + "and so on " * 20)


def make_hf(folder: Path) -> Engine:
    pytest.importorskip("transformers")
    from coalm.engines.hf import HfEngine

    return HfEngine(folder, dtype="float32", batch_size=2)


def make_openai(folder: Path) -> Engine:
    """The scripted engine behind HTTP; the endpoint goes with the process."""
    pytest.importorskip("openai")
    from coalm.engines.openai import OpenAIEngine

    endpoint = ScriptedEndpoint(lambda prompt: f"{prompt[-1].content} " + "and so on " * 20)
    return OpenAIEngine("any", url=endpoint.url, workers=2)


def make_vllm(folder: Path) -> Engine:
    pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")
    from coalm.engines.config import VllmConfig
    from coalm.engines.vllm import VllmEngine

    return VllmEngine(folder, dtype="float32", settings=VllmConfig(enforce_eager=True))


ENGINE_MAKERS: dict[str, Callable[[Path], Engine]] = {
    "scripted": make_scripted,
    "hf": make_hf,
    "openai": make_openai,
    "vllm": make_vllm,
}
# vLLM's own imports warn
VLLM_MARKS = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]
NAMES = [pytest.param(name, marks=VLLM_MARKS if name == "vllm" else []) for name in ENGINE_MAKERS]


def test_every_engine_is_under_contract() -> None:
    assert ENGINE_MAKERS.keys() == ENGINES.keys()


@pytest.fixture(scope="module", params=NAMES)
def engine(request: pytest.FixtureRequest, model_for: Callable[[str], Path]) -> Iterator[Engine]:
    made = ENGINE_MAKERS[request.param](model_for(request.param))
    yield made
    made.close()


def test_answers_come_in_the_order_of_the_prompts(engine: Engine) -> None:
    together = engine.generate(PROMPTS, GREEDY)
    assert together == [engine.generate([prompt], GREEDY)[0] for prompt in PROMPTS]
    assert together[::-1] == engine.generate(PROMPTS[::-1], GREEDY)
    assert len({answer.text for answer in together}) == len(PROMPTS)


def test_no_prompt_is_no_answer(engine: Engine) -> None:
    assert engine.generate([], GREEDY) == []


def test_the_limit_of_new_tokens_holds_and_is_said(engine: Engine) -> None:
    for limit in (1, 5):
        params = SamplingParams(max_new_tokens=limit)
        for answer in engine.generate(PROMPTS, params):
            assert answer.finish_reason == "length"
            assert answer.usage.completion_tokens == limit


def test_a_longer_limit_goes_on_with_the_same_text(engine: Engine) -> None:
    short = engine.generate(PROMPTS, SamplingParams(max_new_tokens=4))
    for less, more in zip(short, engine.generate(PROMPTS, GREEDY), strict=True):
        assert more.text.startswith(less.text.rstrip("\ufffd"))
        assert more.token_ids[: len(less.token_ids)] == less.token_ids


def test_an_answer_ends_before_its_first_stop_text(engine: Engine) -> None:
    for prompt, answer in zip(PROMPTS, engine.generate(PROMPTS, GREEDY), strict=True):
        text = answer.text
        late, early = text[-3:], text[len(text) // 2 :][:2]
        (cut,) = engine.generate([prompt], GREEDY.model_copy(update={"stop": (late, early)}))
        assert cut.text == text[: min(text.index(late), text.index(early))]
        assert cut.finish_reason == "stop"
        assert cut.usage.completion_tokens <= answer.usage.completion_tokens


def test_one_row_stops_and_the_others_go_on(engine: Engine) -> None:
    free = engine.generate(PROMPTS, GREEDY)
    stop = free[1].text[2:5]
    for answer, alone in zip(
        engine.generate(PROMPTS, GREEDY.model_copy(update={"stop": (stop,)})), free, strict=True
    ):
        assert answer.text == alone.text.partition(stop)[0]
        assert answer.token_ids == alone.token_ids[: len(answer.token_ids)]
        assert answer.finish_reason == ("stop" if stop in alone.text else "length")


def test_a_stop_text_that_never_comes_changes_nothing(engine: Engine) -> None:
    params = GREEDY.model_copy(update={"stop": ("never said",)})
    assert engine.generate(PROMPTS, params) == engine.generate(PROMPTS, GREEDY)


def test_usage_counts_the_prompt(engine: Engine) -> None:
    usage = [answer.usage.prompt_tokens for answer in engine.generate(PROMPTS, GREEDY)]
    assert 0 < usage[0] < usage[1]


def test_a_seed_repeats_sampled_answers(engine: Engine) -> None:
    params = SamplingParams(max_new_tokens=12, temperature=1.0, seed=7)
    first = engine.generate(PROMPTS, params)
    assert engine.generate(PROMPTS, params) == first
    assert engine.generate(PROMPTS[1:], params) == first[1:]


@pytest.mark.parametrize("name", NAMES)
def test_a_closed_engine_says_so(name: str, model_for: Callable[[str], Path]) -> None:
    engine = ENGINE_MAKERS[name](model_for(name))
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="is closed; make a new one"):
        engine.generate(PROMPTS, GREEDY)
