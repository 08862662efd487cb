"""Inference files: Oumi's keys as coalm reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from coalm.config import load_config
from coalm.engines.base import SamplingParams
from coalm.engines.config import GenerationConfig, InferConfig, ModelConfig
from coalm.errors import ConfigError

# Every key of Oumi's CoALM inference files, with values of our own.
PUBLISHED = """
model:
  model_name: some-lab/some-model
  adapter_model: null # none
  model_max_length: 1024
  torch_dtype_str: "bfloat16"
  attn_implementation: "sdpa"
  load_pretrained_weights: True
  trust_remote_code: True

generation:
  max_new_tokens: 128

engine: NATIVE
"""


def load(tmp_path: Path, text: str, *overrides: str) -> tuple[InferConfig, tuple[str, ...]]:
    path = tmp_path / "infer.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(InferConfig, path, overrides)


def test_a_published_file_loads_with_remote_code_off(tmp_path: Path) -> None:
    config, warnings = load(tmp_path, PUBLISHED)
    assert config == InferConfig(
        model=ModelConfig(
            model_name="some-lab/some-model",
            model_max_length=1024,
            torch_dtype_str="bfloat16",
            attn_implementation="sdpa",
        ),
        generation=GenerationConfig(max_new_tokens=128),
        engine="hf",
    )
    assert len(warnings) == 1
    assert "infer.yaml:9: model.trust_remote_code stays off" in warnings[0]


@pytest.mark.parametrize(
    ("written", "engine"),
    [
        ("NATIVE", "hf"),
        ("native", "hf"),
        ("hf", "hf"),
        ("VLLM", "vllm"),
        ("vllm", "vllm"),
        ("OPENAI", "openai"),
        ("REMOTE", "openai"),
        ("REMOTE_VLLM", "openai"),
        ("openai", "openai"),
        ("SCRIPTED", "scripted"),
        ("scripted", "scripted"),
    ],
)
def test_engines_have_oumi_s_names_and_ours(tmp_path: Path, written: str, engine: str) -> None:
    config, _ = load(tmp_path, PUBLISHED, f"engine={written}")
    assert config.engine == engine


def test_the_engine_is_hf_when_the_file_names_none() -> None:
    assert load_config(InferConfig, None, ["model.model_name=m"]).config.engine == "hf"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "engine=SGLANG",
            "engine: Oumi has an engine SGLANG, coalm has not; use one of NATIVE, VLLM",
        ),
        ("engine=gemini", "engine: Oumi has an engine GEMINI, coalm has not; use one of NATIVE"),
        ("engine=NATVE", "engine: there is no engine 'NATVE'; did you mean NATIVE?"),
        ("engine=x", "engine: there is no engine 'x'; use one of NATIVE, VLLM, OPENAI, REMOTE"),
        ("engine=3", "engine: expected 'hf', 'vllm', 'openai' or 'scripted', got 3"),
        (
            "model.torch_dtype_str=int4",
            "model.torch_dtype_str: expected 'auto', 'float32', 'float16'",
        ),
        ("model.model_max_length=0", "model.model_max_length: expected a number greater than or"),
        (
            "model.model_name=''",
            "model.model_name: String should have at least 1 character, got ''",
        ),
        ("generation.temperature=-1", "generation.temperature: expected a number greater than or"),
        (
            "generation.max_tokens=5",
            "unknown key 'generation.max_tokens'; did you mean 'generation.m",
        ),
        ("model=null", "model is missing"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, PUBLISHED, override)
    assert str(caught.value).startswith(f"override '{override}': {message}")


@pytest.mark.parametrize(
    ("written", "dtype"),
    [("bf16", "bfloat16"), ("half", "float16"), ("float", "float32"), ("double", "float64")],
)
def test_number_types_have_short_names(tmp_path: Path, written: str, dtype: str) -> None:
    config, _ = load(tmp_path, PUBLISHED, f"model.torch_dtype_str={written}")
    assert config.model.torch_dtype_str == dtype


def test_the_model_s_own_chat_template_is_called_auto(tmp_path: Path) -> None:
    assert load(tmp_path, PUBLISHED, "model.chat_template=auto")[0].model.chat_template is None
    named, _ = load(tmp_path, PUBLISHED, "model.chat_template=chatml")
    assert named.model.chat_template == "chatml"


def test_keys_of_oumi_that_do_nothing_here_are_reported(tmp_path: Path) -> None:
    words = [
        "model.device_map=auto",
        "generation.num_beams=4",
        "input_path=x.jsonl",
        "style.width=9",
    ]
    config, warnings = load(tmp_path, PUBLISHED, *words)
    assert config == load(tmp_path, PUBLISHED)[0]
    assert warnings[0].endswith(
        "infer.yaml: Oumi's keys without effect here: model.device_map, generation.num_beams, "
        "input_path, style"
    )


def test_untrained_weights_are_not_to_be_had(tmp_path: Path) -> None:
    _, warnings = load(tmp_path, PUBLISHED, "model.load_pretrained_weights=false")
    assert warnings[-1] == (
        "override 'model.load_pretrained_weights=false': model.load_pretrained_weights: "
        "coalm always starts from the model's weights"
    )


def test_generation_becomes_sampling_parameters(tmp_path: Path) -> None:
    words = ["generation.temperature=1e-1", "generation.top_p=0.9", "generation.seed=5"]
    config, _ = load(tmp_path, PUBLISHED, *words, "generation.stop=[END]")
    assert config.generation.sampling() == SamplingParams(
        max_new_tokens=128, temperature=0.1, top_p=0.9, stop=("END",), seed=5
    )
    assert GenerationConfig().sampling() == SamplingParams(max_new_tokens=1024)


def test_an_endpoint_s_key_is_not_printed(tmp_path: Path) -> None:
    words = ["remote_params.api_url=https://example.org", "remote_params.api_key=geheim"]
    config, _ = load(tmp_path, PUBLISHED, *words)
    assert config.remote_params is not None
    assert config.remote_params.api_key is not None
    assert config.remote_params.api_key.get_secret_value() == "geheim"
    assert "geheim" not in repr(config)
    assert "geheim" not in config.model_dump_json()
