"""What is written as GGUF says, read back by transformers, what the model says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig, set_seed

from coalm.engines.gguf import load_model, load_tokenizer
from coalm.errors import TrainError
from coalm.train.config import TrainConfig
from coalm.train.gguf_export import export_gguf, interleaved, pre_tokenizer_name, rope_factors
from coalm.train.merge import merge
from coalm.train.run import train

Configure = Callable[..., TrainConfig]
PROMPTS = torch.tensor([[5, 80, 33, 7, 99, 200, 31, 12]])


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(PROMPTS).logits


@pytest.mark.parametrize(("number_type", "atol"), [("f32", 1e-5), ("f16", 0.05), ("bf16", 0.5)])
def test_a_run_becomes_a_file_with_the_same_logits(
    configure: Configure, tmp_path: Path, number_type: str, atol: float
) -> None:
    run = train(configure("training.max_steps=9")).folder
    out = export_gguf(run, tmp_path / "out" / "model.gguf", number_type=number_type)
    merged = AutoModelForCausalLM.from_pretrained(merge(run, tmp_path / "merged"))
    torch.testing.assert_close(logits(load_model(out)), logits(merged), rtol=0, atol=atol)
    assert [path.name for path in out.parent.iterdir()] == ["model.gguf"]


def model_folder(folder: Path, tiny_model: Path, config: PreTrainedConfig) -> Path:
    """A random model with the tiny tokenizer."""
    shutil.copytree(tiny_model, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    set_seed(1)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_other_models(tiny_model: Path, tmp_path: Path, family: str, tied: bool) -> None:
    config = AutoConfig.for_model(
        family,
        vocab_size=AutoConfig.from_pretrained(tiny_model).vocab_size,
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
        rope_theta=5e5,
    )
    folder = model_folder(tmp_path / "model", tiny_model, config)
    out = export_gguf(folder, tmp_path / "model.gguf", number_type="f32")
    expected = AutoModelForCausalLM.from_pretrained(folder)
    torch.testing.assert_close(logits(load_model(out)), logits(expected), rtol=0, atol=1e-5)


def test_the_tokenizer_goes_along(tiny_model: Path, tmp_path: Path) -> None:
    out = export_gguf(tiny_model, tmp_path / "model.gguf")
    fields = GGUFReader(out).fields
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokens = fields["tokenizer.ggml.tokens"].contents()
    assert [tokenizer.get_vocab()[token] for token in tokens] == list(range(len(tokenizer)))
    assert fields["tokenizer.ggml.pre"].contents() == "gpt-2"
    assert fields["tokenizer.ggml.eos_token_id"].contents() == tokenizer.eos_token_id
    assert fields["tokenizer.chat_template"].contents() == tokenizer.chat_template
    kinds = fields["tokenizer.ggml.token_type"].contents()
    assert kinds[tokenizer.convert_tokens_to_ids("<|im_start|>")] == 3  # control


@pytest.mark.model
def test_smollm2_survives_the_round_trip(smollm2: Path, tmp_path: Path) -> None:
    out = export_gguf(smollm2, tmp_path / "model.gguf", number_type="f32")
    expected = AutoModelForCausalLM.from_pretrained(smollm2)
    torch.testing.assert_close(logits(load_model(out)), logits(expected), rtol=0, atol=1e-3)
    text = "<|im_start|>user\nBook a table for 12\n\n at 7:30 pm<|im_end|>\n"
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    assert load_tokenizer(out)(text).input_ids == tokenizer(text).input_ids


def test_the_stretched_frequencies_of_llama_3_1() -> None:
    rope = {
        "rope_type": "llama3",
        "rope_theta": 5e5,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    config = AutoConfig.for_model("llama", head_dim=128, rope_parameters=rope)
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    stretched, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    plain = 5e5 ** -(torch.arange(0, 128, 2) / 128)
    factors = rope_factors(config)
    assert factors is not None
    torch.testing.assert_close(plain / factors, stretched, rtol=1e-5, atol=0)
    assert rope_factors(AutoConfig.for_model("llama")) is None


def test_rows_of_a_head_are_interleaved() -> None:
    rows = torch.arange(8)[:, None]
    assert interleaved(rows, 2).flatten().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize(
    ("described", "name"),
    [
        ({"type": "ByteLevel", "use_regex": True}, "gpt-2"),
        ({"pretokenizers": [{"type": "Digits", "individual_digits": True}]}, None),
        ({"type": "Metaspace"}, None),
        (None, None),
    ],
)
def test_ways_to_cut_text(described: dict[str, object] | None, name: str | None) -> None:
    assert pre_tokenizer_name(described) == name


@pytest.mark.parametrize(
    ("pattern", "name"),
    [(r"a|\p{N}{1,3}| ?b", "llama-bpe"), (r"a|\p{N}| ?b", "qwen2"), (r"\w+", None)],
)
def test_patterns_that_cut_text(pattern: str, name: str | None) -> None:
    split = {"type": "Split", "pattern": {"Regex": pattern}}
    assert pre_tokenizer_name({"pretokenizers": [split, {"type": "ByteLevel"}]}) == name


def test_what_cannot_be_written_is_said(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.gguf"
    with pytest.raises(TrainError, match="--type q4: the types are f32, f16, bf16"):
        export_gguf(tiny_model, out, number_type="q4")
    with pytest.raises(TrainError, match=f"{tmp_path} holds no adapter; give a run folder"):
        export_gguf(tmp_path, out)
    folder = tmp_path / "other"
    shutil.copytree(tiny_model, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"] = {"type": "Whitespace"}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(TrainError, match=r"tokenizer.json cuts text in a way that coalm cannot"):
        export_gguf(folder, out)
    config = AutoConfig.for_model("gpt2")
    config.save_pretrained(folder)
    with pytest.raises(TrainError, match="is of the family gpt2, and coalm writes GGUF files of"):
        export_gguf(folder, out)
    assert not out.exists()
    out.touch()
    with pytest.raises(TrainError, match="exists; name a new file"):
        export_gguf(tiny_model, out)
