"""The real vLLM, on a CPU build or a GPU: `make test-vllm`."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")

from coalm.engines.base import SamplingParams
from coalm.engines.config import InferConfig, VllmConfig
from coalm.engines.hf import HfEngine
from coalm.engines.vllm import VllmEngine
from coalm.errors import ContextError, EngineError
from coalm.formats import get_format
from coalm.types import ChatTurn, GuidedPrompt, Prompt, ToolSchema

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]

JOBS = Path(__file__).parents[2] / "configs" / "infer" / "jobs"
GREEDY = SamplingParams(max_new_tokens=8)
EAGER = VllmConfig(enforce_eager=True)


def ask(text: str) -> Prompt:
    return (ChatTurn("user", text),)


PROMPTS = [ask(f"Find restaurant {number} in San Jose") for number in range(6)]


@pytest.fixture(scope="module")
def adapter(wide_model: Path) -> Path:
    """A LoRA adapter that changes what the model says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = wide_model.with_name("adapter")
    model = AutoModelForCausalLM.from_pretrained(wide_model)
    tuned: Any = get_peft_model(
        model, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"])
    )
    torch.manual_seed(1)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    tuned.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def engine(wide_model: Path, adapter: Path) -> Iterator[VllmEngine]:
    made = VllmEngine(wide_model, adapter=adapter, dtype="float32", max_length=128, settings=EAGER)
    yield made
    made.close()


def test_an_adapter_answers_as_in_the_hf_engine(
    engine: VllmEngine, wide_model: Path, adapter: Path
) -> None:
    plain = HfEngine(wide_model, dtype="float32").generate(PROMPTS, GREEDY)
    tuned = HfEngine(wide_model, adapter=adapter, dtype="float32").generate(PROMPTS, GREEDY)
    found = engine.generate(PROMPTS, GREEDY)
    assert found == tuned
    assert [one.token_ids for one in found] != [one.token_ids for one in plain]


def test_answers_come_one_by_one_and_can_be_given_up(engine: VllmEngine) -> None:
    whole = engine.generate(PROMPTS, GREEDY)
    coming = engine.answers(iter(PROMPTS), GREEDY)
    first = next(coming)
    assert first.outcome == whole[first.place]
    coming.close()
    assert engine.generate(PROMPTS[::-1], GREEDY) == whole[::-1]


def test_a_prompt_at_fault_costs_no_other_its_answer(engine: VllmEngine) -> None:
    prompts = [PROMPTS[0], ask("x" * 4000), None, PROMPTS[1]]
    found = dict(engine.answers(prompts, GREEDY))
    assert isinstance(found[1], ContextError)
    assert [found[0], found[2]] == engine.generate(PROMPTS[:2], GREEDY)


def test_a_prompt_that_does_not_fit_is_named(engine: VllmEngine) -> None:
    with pytest.raises(
        ContextError, match=r"prompt 2 of 2 has \d+ tokens and the context of .*128"
    ):
        engine.generate([PROMPTS[0], ask("x" * 4000)], GREEDY)


def test_copies_of_a_prompt_are_drawn_apart_and_again(engine: VllmEngine) -> None:
    params = SamplingParams(max_new_tokens=16, temperature=1.5, seed=3)
    found = engine.generate([PROMPTS[0]] * 3, params)
    assert len({one.token_ids for one in found}) > 1
    assert engine.generate([PROMPTS[0]] * 3, params) == found


def test_a_guided_answer_keeps_to_its_grammar(engine: VllmEngine) -> None:
    weather = ToolSchema(
        name="weather",
        parameters={
            "type": "object",
            "properties": {"city": {"enum": ["Oslo", "Rome"]}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    )
    form = get_format("json_calls")
    guided = GuidedPrompt(PROMPTS[0], form.grammar([weather]))
    found, plain = engine.generate([guided, PROMPTS[0]], SamplingParams(max_new_tokens=60))
    assert plain == engine.generate([PROMPTS[0]], SamplingParams(max_new_tokens=60))[0]
    call = r'\{"name": "weather", "arguments": \{"city": "(Oslo|Rome)"(, "days": -?\d+)?\}\}'
    whole = re.compile(rf"```\n\[({call}(, {call})*)?\]\n```")
    if found.finish_reason == "stop":
        assert whole.fullmatch(found.text)
    else:  # a random model goes on with digits or calls until it is cut off
        assert re.match(rf'```\n\[({call}, )*\{{"name": "weather", "arguments"', found.text)


def test_what_cannot_be_loaded_says_why(tmp_path: Path, wide_model: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 4096}')
    with pytest.raises(EngineError, match="has rank 4096; vLLM takes at most 512"):
        VllmEngine(wide_model, adapter=tmp_path, settings=EAGER)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(
        EngineError, match=r"is no LoRA adapter: adapter_config\.json gives no rank"
    ):
        VllmEngine(wide_model, adapter=tmp_path, settings=EAGER)
    config = InferConfig.model_validate(
        {"model": {"model_name": str(wide_model), "model_max_length": 100_000}, "engine": "VLLM"}
    )
    with pytest.raises(EngineError, match=r"vLLM cannot load the model .*100000"):
        VllmEngine.from_config(config)


@pytest.mark.parametrize(
    ("variant", "tensor", "pipeline"), [("two_nodes", 8, 2), ("fp8", 8, 1), ("awq", 8, 1)]
)
def test_the_commands_for_405b_are_what_vllm_takes(
    variant: str, tensor: int, pipeline: int
) -> None:
    parsing: Any = importlib.import_module("vllm.entrypoints.cli.serve")
    arguments: Any = importlib.import_module("vllm.utils.argparse_utils")
    extra = ["--enable-lora", "--max-lora-rank", "16", "--lora-modules", "coalm-405b=adapter"]
    printed = subprocess.run(
        [JOBS / "vllm_405b.sh", variant, "some/model", *extra],
        env={**os.environ, "PRINT": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    command = shlex.split(printed)
    assert command[:2] == ["vllm", "serve"]
    parser = parsing.make_arg_parser(arguments.FlexibleArgumentParser())
    parsed = parser.parse_args(command[2:])
    parsing.validate_parsed_serve_args(parsed)
    assert parsed.model_tag == "some/model"
    assert (parsed.tensor_parallel_size, parsed.pipeline_parallel_size) == (tensor, pipeline)
    assert parsed.distributed_executor_backend == ("ray" if pipeline == 2 else None)
    assert parsed.enable_prefix_caching is True
