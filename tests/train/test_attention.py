"""Which models can be trained in trees, and what each kernel is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
)

from coalm.errors import ConfigError
from coalm.train.attention import (
    BY_CHAINS,
    base_model_of,
    block_mask,
    prepare_for_trees,
    seen_as_trees,
    visible,
)
from coalm.train.batches import forest_batch, padded_batch
from coalm.train.dataset import Labels, TrainingSample
from coalm.train.loss import target_losses

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


def sample(*token_ids: int) -> TrainingSample:
    learned = torch.ones(len(token_ids), dtype=torch.bool)
    return TrainingSample(Labels("a", "x", "LA", "a"), torch.tensor(token_ids), learned)


GROUP = [sample(1, 2, 3, 4, 5), sample(1, 2, 7, 8), sample(1, 2, 3, 9, 9, 9), sample(4, 3)]


def model_of(config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("kind", [LlamaConfig, MistralConfig, Qwen2Config])
@pytest.mark.parametrize("attention", [None, "sdpa", "eager"])
def test_families_that_are_trained_in_trees(
    kind: type[PreTrainedConfig], attention: str | None
) -> None:
    model = model_of(kind(**SIZES, num_key_value_heads=1))
    prepare_for_trees(model, asked=attention, longest=6)
    tree = target_losses(model, forest_batch(GROUP))
    padded = target_losses(model, padded_batch(GROUP))
    torch.testing.assert_close(tree, padded, rtol=1e-4, atol=1e-5)


def test_without_a_gpu_attention_goes_along_chains() -> None:
    model = model_of(LlamaConfig(**SIZES))
    prepare_for_trees(model, asked=None, longest=6)
    assert model.config._attn_implementation == BY_CHAINS
    batch = forest_batch(GROUP)
    assert seen_as_trees(model, batch)["chains"] == batch.chains
    assert seen_as_trees(model, padded_batch(GROUP)) == {}


def test_a_saved_model_does_not_name_our_kernel(tmp_path: Path) -> None:
    model = model_of(LlamaConfig(**SIZES))
    prepare_for_trees(model, asked=None, longest=6)
    model.save_pretrained(tmp_path)
    assert BY_CHAINS not in (tmp_path / "config.json").read_text()


def test_a_block_mask_says_the_same_as_a_mask() -> None:
    ends = forest_batch(GROUP).ends
    assert ends is not None
    blocks = block_mask(ends)
    numbers = torch.arange(len(ends))
    zero = torch.tensor(0)
    sees = [[bool(blocks.mask_mod(zero, zero, q, k)) for k in numbers] for q in numbers]
    assert torch.tensor(sees).equal(visible(ends))
    assert tuple(blocks.shape) == (1, 1, len(ends), len(ends))


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        (BloomConfig(vocab_size=50, hidden_size=16, n_layer=1, n_head=2), "is not told what a"),
        (MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1), "is not told what a"),
        (MistralConfig(**SIZES, sliding_window=5), "sees 5 tokens back, and a sample has 6"),
    ],
)
def test_a_model_that_cannot_is_refused(config: PreTrainedConfig, fault: str) -> None:
    model = model_of(config)
    model.name_or_path = "some/model"
    with pytest.raises(ConfigError) as caught:
        prepare_for_trees(base_model_of(model), asked=None, longest=6)
    message = str(caught.value)
    assert message.startswith(f"training.batching: some/model {fault}")
    assert message.endswith("; set training.batching=padded")


def test_layers_of_another_kind_are_refused() -> None:
    model = model_of(Qwen2Config(**SIZES))
    model.config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(ConfigError, match="has layers of the kind linear_attention; set training"):
        prepare_for_trees(model, asked=None, longest=6)


def test_a_kernel_without_masks_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        prepare_for_trees(model_of(LlamaConfig(**SIZES)), asked="flash_attention_2", longest=6)
    assert str(caught.value) == (
        "model.attn_implementation: flash_attention_2 takes no mask, which training.batching: tree "
        "and packed need; leave the key out, or choose sdpa, eager or flex_attention"
    )


@pytest.mark.gpu
@pytest.mark.parametrize("attention", [None, "sdpa", "eager"])
def test_gradients_on_a_gpu(attention: str | None) -> None:
    config = LlamaConfig(**{**SIZES, "hidden_size": 64}, num_key_value_heads=1)
    model = model_of(config).train().cuda()
    gradients = []
    for batch in (padded_batch(GROUP), forest_batch(GROUP)):
        model.zero_grad()
        if batch.ends is not None:
            prepare_for_trees(model, asked=attention, longest=6)
        target_losses(model, batch.to(model.device)).sum().backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters()})
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
