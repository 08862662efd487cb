"""Blocked weights multiply like those they were made of."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from coalm.engines.hf_linear import block_weights  # noqa: E402

if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
    pytest.skip("oneDNN does not multiply bfloat16 on this CPU", allow_module_level=True)


class Layers(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(40, 24)
        self.plain = torch.nn.Linear(24, 40, bias=False)
        self.biased = torch.nn.Linear(40, 24)
        self.tied = torch.nn.Linear(24, 40, bias=False)
        self.tied.weight = self.table.weight


@pytest.mark.parametrize("tokens", [1, 3, 32, 70])
def test_products_are_the_same(tokens: int) -> None:
    torch.manual_seed(0)
    layers = Layers().bfloat16()
    given = torch.randn(1, tokens, 24).bfloat16()
    before = layers.plain(given)
    both = layers.biased(before)
    block_weights(layers)
    assert type(layers.plain) is not torch.nn.Linear
    assert type(layers.biased) is not torch.nn.Linear
    with torch.inference_mode():
        assert torch.allclose(layers.plain(given), before, rtol=0.01, atol=0.01)
        assert torch.allclose(layers.biased(before), both, rtol=0.01, atol=0.01)


def test_a_table_that_is_shared_and_other_numbers_stay() -> None:
    layers = Layers().bfloat16()
    block_weights(layers)
    assert layers.tied.weight is layers.table.weight
    precise = Layers()
    block_weights(precise)
    assert {type(one) for one in precise.children()} == {torch.nn.Embedding, torch.nn.Linear}


def test_a_model_scores_as_before() -> None:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        "qwen2",
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    ids = torch.tensor([[3, 9, 27, 31, 43, 29]])
    with torch.inference_mode():
        before = model(ids).logits
        block_weights(model)
        after = model(ids).logits
    assert not torch.equal(before, torch.zeros_like(before))
    assert torch.allclose(after, before, rtol=0.02, atol=0.02)
