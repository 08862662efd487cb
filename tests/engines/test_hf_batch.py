"""What the hf engine computes, and what it takes from what it has computed before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from coalm.agent.rollout import Rollout, run_many  # noqa: E402
from coalm.chat_template import encode_prompt, load_tokenizer  # noqa: E402
from coalm.engines import SamplingParams, hf_batch  # noqa: E402
from coalm.engines.hf import HfEngine  # noqa: E402
from coalm.errors import ContextError, EngineError  # noqa: E402
from coalm.types import ChatTurn, Conversation, Prompt  # noqa: E402

GREEDY = SamplingParams(max_new_tokens=10)


def ask(text: str) -> Prompt:
    return (ChatTurn("user", text),)


class Work(NamedTuple):
    """Passes through the model: how many tokens of how many sequences each."""

    tokens: list[int]
    sequences: list[int]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    found = Work([], [])
    compute = hf_batch.forward

    def forward(model: Any, strips: list[Any], tokens: list[list[int]], ends: Any) -> Any:
        found.tokens.append(sum(map(len, tokens)))
        found.sequences.append(len(strips))
        return compute(model, strips, tokens, ends)

    monkeypatch.setattr(hf_batch, "forward", forward)
    return found


def generated(folder: Path, prompt: Prompt, count: int) -> list[int]:
    """What `generate` of transformers answers."""
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([encode_prompt(load_tokenizer(folder), prompt)])
    output = model.generate(input_ids=ids, max_new_tokens=count, do_sample=False)
    return output[0, ids.shape[1] :].tolist()


def grown(folder: Path, turns: int) -> list[Prompt]:
    """Prompts of one dialogue, each with the one before it at its start."""
    prompts: list[Prompt] = [ask("first words " * 9)]
    for turn in range(turns - 1):
        said = (ChatTurn("assistant", f"answer {turn}"), ChatTurn("user", f"question {turn}"))
        prompts.append((*prompts[-1], *said))
    return prompts


def test_a_dialogue_is_computed_once(tiny_model: Path, work: Work) -> None:
    engine = HfEngine(tiny_model, dtype="float32")
    lengths: list[int] = []
    for prompt in grown(tiny_model, 5):
        (answer,) = engine.generate([prompt], GREEDY)
        assert list(answer.token_ids) == generated(tiny_model, prompt, 10)
        lengths.append(answer.usage.prompt_tokens)
    # nine tokens of every answer are computed, and of prompts what the one before has not
    most = lengths[-1] + 5 * 9 + 4 * len("<|im_start|>assistant\n")
    assert sum(work.tokens) < most < sum(lengths)


def test_prompts_of_one_call_share_their_start(tiny_model: Path, work: Work) -> None:
    prompts = [ask("the same words for all " * 9 + str(number)) for number in range(6)]
    engine = HfEngine(tiny_model, dtype="float32")
    answers = engine.generate(prompts, SamplingParams(max_new_tokens=1))
    length = answers[0].usage.prompt_tokens
    assert sum(work.tokens) < 1.5 * length
    for prompt, answer in zip(prompts, answers, strict=True):
        assert list(answer.token_ids) == generated(tiny_model, prompt, 1)


def test_places_are_filled_as_they_get_free(tiny_model: Path, work: Work) -> None:
    engine = HfEngine(tiny_model, dtype="float32", batch_size=3)
    prompts = [ask("x" * number) for number in range(1, 10)]
    engine.generate(prompts, GREEDY)
    assert max(work.sequences) == 3
    assert work.sequences.count(3) > 20


def test_answers_are_given_when_they_are_done(tiny_model: Path, work: Work) -> None:
    engine = HfEngine(tiny_model, dtype="float32", batch_size=2)
    done: list[int] = []

    def prompts() -> Iterator[Prompt | None]:
        yield ask("one")
        while not done:
            yield None
        yield ask("two")

    for place, _ in engine.answers(prompts(), GREEDY):
        done.append(place)
    assert done == [0, 1]
    assert len(work.tokens) == 20


def test_a_long_prompt_does_not_hold_the_others_up(
    tiny_model: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hf_batch, "_STEP_TOKENS", 40)
    engine = HfEngine(tiny_model, dtype="float32")
    prompts = [ask("b"), ask("a long one " * 30)]
    short, long = (answer for _, answer in sorted(engine.answers(prompts, GREEDY)))
    assert max(work.tokens) == 40
    assert 2 in work.sequences[:10]
    assert [short] == HfEngine(tiny_model, dtype="float32").generate(prompts[:1], GREEDY)
    assert [long] == HfEngine(tiny_model, dtype="float32").generate(prompts[1:], GREEDY)


def test_an_error_stays_with_its_prompt(tiny_model: Path) -> None:
    engine = HfEngine(tiny_model, dtype="float32")
    found = dict(engine.answers([ask("a"), ask("b " * 600), ask("c")], GREEDY))
    assert isinstance(found[1], ContextError)
    assert str(found[1]).startswith("the prompt has ")
    assert not any(isinstance(found[place], EngineError) for place in (0, 2))


def test_an_abandoned_call_leaves_nothing_behind(tiny_model: Path) -> None:
    engine = HfEngine(tiny_model, dtype="float32", cache_tokens=600)
    fresh = engine.generate([ask("b")], GREEDY)
    answers = engine.answers([ask("a"), ask("b"), ask("c")], GREEDY)
    next(answers)
    answers.close()
    assert engine.generate([ask("b")], GREEDY) == fresh


@pytest.mark.parametrize("cache_tokens", [1, 256, 700, 16_384])
def test_dialogues_do_not_depend_on_the_room(tiny_model: Path, cache_tokens: int) -> None:
    def talk(number: int) -> Rollout:
        prompt = ask(f"{number} " * number)
        for _ in range(3):
            answer = yield prompt
            prompt = (*prompt, ChatTurn("assistant", answer.text), ChatTurn("user", "more"))
        return Conversation(id=str(number), meta={"last": answer.text})

    # what is added up in another order differs in the last digit, and a dialogue would grow it
    engine = HfEngine(tiny_model, dtype="float64", batch_size=3, cache_tokens=cache_tokens)
    rollouts = [(str(number), talk(number)) for number in range(1, 8)]
    found = {done.id: done for done in run_many(rollouts, engine, GREEDY, 5)}
    alone = HfEngine(tiny_model, dtype="float64", batch_size=1, cache_tokens=1)
    for number in range(1, 8):
        (done,) = run_many([(str(number), talk(number))], alone, GREEDY, 1)
        assert found[str(number)].conversation == done.conversation
