from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from coalm.chat_template import load_tokenizer  # noqa: E402
from coalm.engines.hf_attention import forward, use_packed_attention  # noqa: E402
from coalm.engines.hf_cache import TAIL, Strip, Tails  # noqa: E402
from coalm.engines.hf_pool import StripPool  # noqa: E402
from coalm.errors import EngineError  # noqa: E402

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.5,
}


def make(kind: str, **more: Any) -> Any:
    transformers.set_seed(0)
    config = transformers.AutoConfig.for_model(kind, **(SIZES | more))
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("llama", {}),
        ("qwen2", {}),
        ("qwen3", {"head_dim": 16}),
        ("mistral", {"sliding_window": 20}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}),
        ("gemma3_text", {"head_dim": 16, "sliding_window": 9}),
        ("mixtral", {"num_local_experts": 2, "sliding_window": None}),
    ],
)
def test_packed_sequences_give_the_scores_of_each_alone(kind: str, more: dict[str, Any]) -> None:
    model = make(kind, **more)
    sequences = [[(7 * at + row) % 50 for at in range(n)] for row, n in enumerate((3, 150, 40))]
    with torch.inference_mode():
        alone = torch.stack([model(torch.tensor([ids])).logits[0, -1] for ids in sequences])
    use_packed_attention(model)
    tails = Tails(4)
    strips = [Strip(row, tails) for row in (2, 0, 3)]
    # in pieces of different length, the second one over more than one block
    first = [ids[: len(ids) // 3] for ids in sequences]
    assert forward(model, strips, first, []).shape[0] == 0
    middle = [sequences[1][50:149]]
    forward(model, strips[1:2], middle, [0])
    rest = [ids[len(strip.ids) :] for ids, strip in zip(sequences, strips, strict=True)]
    scores = forward(model, strips, rest, [0, 1, 2])
    assert torch.allclose(scores, alone, atol=1e-4)
    assert [strip.ids for strip in strips] == sequences


def test_layers_with_and_without_a_window_have_masks_of_their_own() -> None:
    windows = {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}
    model = make("qwen2", **windows)
    ids = [7 * at % 50 for at in range(40)]
    with torch.inference_mode():
        alone = model(torch.tensor([ids])).logits[0, -1]
    use_packed_attention(model)
    (scores,) = forward(model, [Strip(0, Tails(1))], [ids], [0])
    assert torch.allclose(scores, alone, atol=1e-4)


def _own(row: int) -> list[int]:
    return [(5 * at + row) % 50 for at in range(TAIL)]


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_branches_of_trunks_give_the_scores_of_each_alone(kind: str) -> None:
    """Answers that share a beginning, all of it or a part, that have one of their own, or none."""
    windows = {"mistral": {"sliding_window": 30}}
    model = make(kind, max_position_embeddings=2048, **windows.get(kind, {})).double()
    trunk = [(3 * at + at // 7) % 50 for at in range(TAIL + 100)]
    prompts = [
        *([*trunk, row, row] for row in range(3)),
        *([*trunk[: TAIL - 20], row, 9] for row in range(2)),
        [*trunk[::-1], 1],
        [4, 4, 2],
        [5],
        # trunks that follow on the first one, of which they share all or a part
        *([*trunk[: len(trunk) - 9 * row], *_own(row), 3] for row in range(2)),
    ]
    with torch.inference_mode():
        alone = [model(torch.tensor([ids])).logits[0] for ids in prompts]
    use_packed_attention(model)
    pool = StripPool(100_000, 16)
    strips = []
    for ids in prompts:
        strip = pool.start(ids[:-1])
        while missing := ids[len(strip.ids) : -1]:
            forward(model, [strip], [missing[: strip.room]], [])
        strips.append(strip)
    assert len({id(strip.trunk) for strip in strips}) == 5
    assert [strip.trunk.parent for strip in strips[8:]] == [strips[0].trunk] * 2
    order = [6, 0, 3, 8, 5, 1, 7, 9, 4, 2]
    scores = forward(
        model,
        [strips[at] for at in order],
        [prompts[at][-1:] for at in order],
        [*range(len(order))],
    )
    for at, found in zip(order, scores, strict=True):
        assert torch.allclose(found.double(), alone[at][-1], atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "more", "reason"),
    [
        ("gemma2", {"head_dim": 16}, "its attention has softcap"),
        ("mamba", {"state_size": 4}, "0 of its 2 layers attend as it expects"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}},
            r"its position codes \(dynamic\) depend on the longest prompt",
        ),
    ],
)
def test_a_model_of_another_build_is_refused(kind: str, more: dict[str, Any], reason: str) -> None:
    with pytest.raises(EngineError, match=f"cannot run .*{reason}; use the engine VLLM or OPENAI"):
        use_packed_attention(make(kind, **more))


def test_a_step_that_fails_leaves_no_trace(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    ids = load_tokenizer(tiny_model)("the user asks the assistant")["input_ids"]
    use_packed_attention(model)
    strip = Strip(0, Tails(1))
    with monkeypatch.context() as patch:

        def fail(*args: Any) -> None:
            raise torch.OutOfMemoryError("full")

        patch.setattr(model.model.layers[1].mlp, "forward", fail)
        with pytest.raises(torch.OutOfMemoryError):
            forward(model, [strip], [ids], [0])
    assert strip.ids == []
    fresh = Strip(0, Tails(1))
    assert torch.equal(forward(model, [strip], [ids], [0]), forward(model, [fresh], [ids], [0]))
