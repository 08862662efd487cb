from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("llguidance")

from coalm.engines import SamplingParams, hf_batch, load_engine  # noqa: E402
from coalm.engines.config import InferConfig  # noqa: E402
from coalm.engines.hf import HfEngine  # noqa: E402
from coalm.errors import EngineError, MissingExtraError  # noqa: E402
from coalm.formats import get_format  # noqa: E402
from coalm.tools import check_arguments  # noqa: E402
from coalm.types import ChatTurn, GuidedPrompt, Prompt, ToolSchema  # noqa: E402

TEXT = {"type": "string"}
FIND = ToolSchema(
    name="FindRestaurants",
    parameters={
        "type": "object",
        "properties": {"city": TEXT, "stars": {"type": "integer"}, "open": {"type": "boolean"}},
        "required": ["city", "open"],
    },
)
NAMES = ToolSchema(
    name="Invite",
    parameters={
        "type": "object",
        "properties": {"people": {"type": "array", "items": TEXT}, "reason": TEXT},
        "required": ["people", "reason"],
    },
)
ROOM = SamplingParams(max_new_tokens=150)


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> HfEngine:
    return HfEngine(tiny_model, dtype="float32")


def prompts(name: str, *tools: ToolSchema) -> list[Prompt]:
    """Short ones, for the short context of the model."""
    grammar = get_format(name).grammar(tools)
    return [GuidedPrompt((ChatTurn("user", "a " * count),), grammar) for count in (1, 5)]


@pytest.mark.parametrize("temperature", [0.0, 1.5])
@pytest.mark.parametrize("limit", [160, 300])
@pytest.mark.parametrize("name", ["json_calls", "dst"])
def test_calls_of_a_random_model_fit_their_tools(
    engine: HfEngine, name: str, limit: int, temperature: float
) -> None:
    params = SamplingParams(max_new_tokens=limit, temperature=temperature, seed=1)
    answers = engine.generate(prompts(name, FIND, NAMES), params)
    form = get_format(name)
    schemas = {tool.name: tool for tool in (FIND, NAMES)}
    assert any(form.parse(answer.text).tool_calls for answer in answers)
    for answer in answers:
        for call in form.parse(answer.text).tool_calls:
            assert call.error is None, answer.text
            assert check_arguments(schemas[call.name], call.arguments) == call.arguments


def test_samples_of_one_batch_may_have_grammars_of_their_own(engine: HfEngine) -> None:
    free: Prompt = (ChatTurn("user", "a"),)
    mixed = [prompts("json_calls", FIND)[0], free, prompts("json_calls", NAMES)[1]]
    first, plain, last = engine.generate(mixed, ROOM)
    assert first.text.startswith("```\n[")
    assert "Invite" not in first.text
    assert "FindRestaurants" not in last.text
    assert [plain] == engine.generate([free], ROOM)
    assert [last] == engine.generate([mixed[2]], ROOM)


def test_what_has_to_follow_is_computed_at_once(
    engine: HfEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    compute = hf_batch.forward

    def forward(*arguments: Any) -> Any:
        steps.append(1)
        return compute(*arguments)

    monkeypatch.setattr(hf_batch, "forward", forward)
    grammar = 'start: "[BEGIN OF THE ANSWER] " ("yes" | "no") " and that is all"'
    (answer,) = engine.generate([GuidedPrompt((ChatTurn("user", "a"),), grammar)], ROOM)
    assert answer.text.removeprefix("[BEGIN OF THE ANSWER] ") in (
        "yes and that is all",
        "no and that is all",
    )
    assert answer.finish_reason == "stop"
    assert len(steps) <= 4 < answer.usage.completion_tokens


def test_a_call_is_closed_before_the_room_ends(engine: HfEngine) -> None:
    for limit in (120, 150, 200):
        params = SamplingParams(max_new_tokens=limit)
        for answer in engine.generate(prompts("json_calls", NAMES), params):
            assert answer.text.endswith("]\n```"), answer.text
            assert answer.finish_reason == "stop"


def test_stop_texts_and_limits_hold_for_forced_tokens(engine: HfEngine) -> None:
    prompt = GuidedPrompt((ChatTurn("user", "a"),), 'start: "one two three four five"')
    (cut,) = engine.generate([prompt], ROOM.model_copy(update={"stop": ("three",)}))
    assert (cut.text, cut.finish_reason) == ("one two ", "stop")
    (short,) = engine.generate([prompt], SamplingParams(max_new_tokens=3))
    assert (short.usage.completion_tokens, short.finish_reason) == (3, "length")


def test_a_grammar_that_cannot_be_used_is_named(engine: HfEngine) -> None:
    broken = GuidedPrompt((ChatTurn("user", "a"),), "start: nothing")
    free: Prompt = (ChatTurn("user", "a"),)
    with pytest.raises(EngineError, match="the grammar cannot be used: "):
        engine.generate([broken], ROOM)
    found = dict(engine.answers([broken, free], ROOM))
    assert "\n" not in str(found[0])
    assert [found[1]] == engine.generate([free], ROOM)


def test_guides_need_llguidance(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    monkeypatch.delitem(sys.modules, "llguidance.hf", raising=False)
    engine = HfEngine(tiny_model)
    with pytest.raises(MissingExtraError, match=r"pip install 'coalm\[guided\]'"):
        engine.generate(prompts("json_calls", FIND), ROOM)


def test_an_engine_that_cannot_guide_says_so() -> None:
    config = InferConfig.model_validate(
        {"engine": "OPENAI", "model": {"model_name": "x"}, "generation": {"guided": True}}
    )
    with pytest.raises(EngineError, match="the engine 'openai' cannot guide calls; use hf"):
        load_engine(config)
