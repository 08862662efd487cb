"""Trees against padded batches on groups of real samples: losses and every gradient.

Usage:
    python benchmarks/train_equality.py output/coalm_it/train.jsonl --model tiny
    python benchmarks/train_equality.py output/coalm_it/train.jsonl --model smollm2 --count 20

`tiny` is a random Llama of two layers in float64 with all its weights trained, and has to agree to
1e-9; `smollm2` is SmolLM2-135M in float32 with a LoRA adapter, and has to agree to 1e-5. A group is
two or three samples of one dialogue, or below one instruction. Differences are those of the loss,
and of the tensor whose gradient differs most, each against its length.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from train_samples import encode, keys_of, read_groups
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from coalm.config import load_config
from coalm.engines.gguf import base_model
from coalm.train.attention import prepare_for_trees
from coalm.train.batches import Batch, forest_batch, padded_batch
from coalm.train.config import TrainConfig
from coalm.train.dataset import TrainingSample
from coalm.train.loss import target_losses
from coalm.train.model import TrainedModel, load_model

EXACT = {"tiny": 1e-9, "smollm2": 1e-5}
SHARES = {"snips": 0.6, "sgd": 0.25, "sgd_calls": 0.15}
LENGTH = 1300


def groups(data: Path, count: int) -> list[list[TrainingSample]]:
    """The same random groups at every call."""
    members = read_groups(data)
    chance = random.Random(11)
    keys = {source: keys_of(members, source) for source in SHARES}
    found: list[list[TrainingSample]] = []
    while len(found) < count:
        source = chance.choices(list(SHARES), list(SHARES.values()))[0]
        lines = members[chance.choice(keys[source])]
        group = encode(chance.sample(lines, min(len(lines), chance.randint(2, 3))), LENGTH)
        if len(group) > 1:
            found.append(group)
    return found


def tiny() -> TrainedModel:
    """A random Llama in float64 throughout; that of transformers rounds its norms to float32."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).double()
    for layer in list(model.modules()):
        for name, norm in layer.named_children():
            if isinstance(norm, LlamaRMSNorm):
                exact = nn.RMSNorm(norm.weight.shape, norm.variance_epsilon, dtype=torch.float64)
                setattr(layer, name, exact)
    return model


def smollm2() -> TrainedModel:
    """SmolLM2 with an adapter as in training, away from its start at 0."""
    words = [f"model.model_name={base_model()}", "training.use_peft=true"]
    config = load_config(TrainConfig, None, [*words, "model.torch_dtype_str=float32"]).config
    torch.manual_seed(0)
    model = load_model(config).model
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.01)
    return model


def step(model: TrainedModel, batch: Batch) -> tuple[float, dict[str, Tensor]]:
    """Mean loss and its gradients."""
    model.zero_grad()
    loss = target_losses(model, batch).mean()
    loss.backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return loss.item(), found


def main() -> None:
    """Compare group after group; fail at the end if one differs too much."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="train.jsonl of `coalm data build`")
    parser.add_argument("--model", choices=EXACT, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    asked = parser.parse_args()
    model = tiny() if asked.model == "tiny" else smollm2()
    prepare_for_trees(model, asked=None, longest=LENGTH)
    worst_loss = worst_gradient = 0.0
    tokens = nodes = 0
    for group in groups(asked.data, asked.first + asked.count)[asked.first :]:
        tree = forest_batch(group)
        tokens, nodes = tokens + tree.tokens, nodes + tree.token_ids.numel()
        loss, found = step(model, tree)
        expected, wanted = step(model, padded_batch(group))
        worst_loss = max(worst_loss, abs(loss / expected - 1))
        for name, gradient in wanted.items():
            difference = float((found[name] - gradient).norm() / gradient.norm())
            worst_gradient = max(worst_gradient, difference)
    passed = max(worst_loss, worst_gradient) < EXACT[asked.model]
    print(
        f"{asked.model}: {asked.count} groups from {asked.first}, {tokens} tokens in {nodes} "
        f"nodes: loss within {worst_loss:.1e}, gradients within {worst_gradient:.1e}"
    )
    sys.exit(not passed)


if __name__ == "__main__":
    main()
