"""Answers as they come, from engines that stream and from those that take batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from coalm.engines.answers import answers, outcomes
from coalm.engines.base import Completion, Engine, SamplingParams
from coalm.engines.scripted import ScriptedEngine
from coalm.engines.scripted_endpoint import Fault, ScriptedEndpoint
from coalm.errors import EngineError
from coalm.types import ChatTurn, Prompt

GREEDY = SamplingParams()


def ask(text: str) -> Prompt:
    return (ChatTurn("user", text),)


class Batches:
    """Refuses batches that hold the prompt "bad"; remembers the sizes of all others."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._engine = ScriptedEngine(lambda prompt: prompt[-1].content)

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        """See `Engine.generate`."""
        if ask("bad") in prompts:
            raise EngineError("a bad prompt")
        self.sizes.append(len(prompts))
        return self._engine.generate(prompts, params)

    def close(self) -> None:
        """See `Engine.close`."""


@pytest.fixture(params=["batches", "streams"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "batches":
        yield Batches()
        return
    pytest.importorskip("openai")
    from coalm.engines.openai import OpenAIEngine

    fault = Fault(400, '{"message": "a bad prompt"}')
    with ScriptedEndpoint(lambda prompt: prompt[-1].content, [None, fault]) as endpoint:
        made = OpenAIEngine("any", url=endpoint.url)
        yield made
        made.close()


def test_an_error_stays_with_the_prompt_at_fault(engine: Engine) -> None:
    prompts = [ask(text) for text in ("a", "bad", "c", "d", "e")]
    found = dict(answers(engine, iter(prompts), GREEDY, 3))
    assert [getattr(found[n], "text", None) for n in range(5)] == ["a", None, "c", "d", "e"]
    assert "a bad prompt" in str(found[1])


def test_outcomes_keep_the_order_of_the_prompts(engine: Engine) -> None:
    first, bad, last = outcomes(engine, [ask("a"), ask("bad"), ask("c")], GREEDY)
    assert isinstance(bad, EngineError)
    assert [getattr(one, "text", None) for one in (first, last)] == ["a", "c"]


def test_batches_have_the_size_that_is_asked_for() -> None:
    engine = Batches()
    assert len(list(answers(engine, map(ask, "abcdefgh"), GREEDY, 3))) == 8
    assert engine.sizes == [3, 3, 2]
