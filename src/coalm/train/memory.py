"""What one training step keeps in memory, by kind, counted from a model's skeleton.

Weights, gradients and optimizer state are counts times sizes. Activations are what the layers of a
Llama keep for the backward pass (six vectors of its width, two of its keys, four of the inner
width, and the two norms in float32); other families differ by a few per cent.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import NamedTuple, cast

from peft import get_peft_model
from torch import nn
from transformers import PreTrainedConfig

from coalm.train.config import TrainConfig
from coalm.train.model import lora_config
from coalm.train.shapes import skeleton

_FLOAT32 = 4
_HALF = 2
_FOUR_BITS = 0.5 + _FLOAT32 / 64
"""Bytes of a weight in nf4 or fp4: its four bits and its share of the scale of 64 weights."""
_FOUR_BITS_NESTED = 0.5 + 1 / 64 + _FLOAT32 / (64 * 256)
"""The same with scales of eight bits, 256 of which share one of their own."""
_PER_NODE = 8
"""Devices that share a node, within which HYBRID_SHARD splits."""


class Census(NamedTuple):
    """Parameters of a model, counted."""

    all: int
    """The base model's."""
    linear: int
    """Those in linear layers but the output layer: what four bits hold with `q_lora`."""
    largest_layer: int
    """Those of the largest transformer layer."""
    largest_matrix: int
    trained: int
    """Of the adapter, or all."""
    embedding: int
    """The table of input embeddings, which multiplies nothing; 0 if it is the output layer too."""


class Memory(NamedTuple):
    """Bytes on one device, by kind."""

    weights: float
    gathered: float
    """Weights of the layers at work, put together from their shards or unpacked from four bits."""
    gradients: float
    optimizer: float
    activations: float
    logits: float
    host: float
    """Bytes in main memory for this device, with `fsdp.cpu_offload`; not in the total."""

    @property
    def total(self) -> float:
        """Bytes on the device."""
        return sum(self) - self.host


def take_census(shape: PreTrainedConfig, config: TrainConfig) -> Census:
    """Count the parameters of a model and of what is trained of it, without any weights.

    Raises:
        TrainError: transformers has no such model.
        ConfigError: the adapter fits no layer of it.
    """
    model = skeleton(shape, trust_remote_code=config.model.trust_remote_code)
    head = model.get_output_embeddings()
    table = cast("nn.Embedding", model.get_input_embeddings()).weight
    tied = head is not None and head.weight is table
    matrices = [
        m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear) and m is not head
    ]
    every = sum(p.numel() for p in model.parameters())
    trained = every
    largest_layer = max(_layers(model, shape), default=every)
    if config.training.use_peft:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft's old names, see model.py
            adapted = get_peft_model(model, lora_config(config.peft), low_cpu_mem_usage=True)
        trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    return Census(
        all=every,
        linear=sum(matrices),
        largest_layer=largest_layer,
        largest_matrix=max(matrices, default=0),
        trained=trained,
        embedding=0 if tied else table.numel(),
    )


def _layers(model: nn.Module, shape: PreTrainedConfig) -> Iterator[int]:
    """Parameters of each transformer layer, found as the list that is as long as the model deep."""
    depth = shape.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            for layer in module:
                yield sum(p.numel() for p in layer.parameters())


def weight_bytes(census: Census, config: TrainConfig) -> float:
    """Bytes of base model and adapter in the types that they are kept in."""
    if not config.training.use_peft:
        return census.all * _FLOAT32
    dense = _FLOAT32 if config.model.torch_dtype_str == "float32" else _HALF
    packed = _FOUR_BITS_NESTED if config.peft.use_bnb_nested_quant else _FOUR_BITS
    linear = census.linear * (packed if config.peft.q_lora else dense)
    return linear + (census.all - census.linear) * dense + census.trained * _FLOAT32


def activation_bytes(shape: PreTrainedConfig, config: TrainConfig, tokens: int) -> float:
    """Bytes that the layers keep of `tokens` tokens until the backward pass has used them."""
    text = shape.get_text_config()
    hidden, inner = text.hidden_size, text.intermediate_size
    heads = text.num_attention_heads
    head = getattr(text, "head_dim", None) or hidden // heads
    keys = head * (getattr(text, "num_key_value_heads", None) or heads)
    size = _FLOAT32 if config.model.torch_dtype_str == "float32" else _HALF
    layer = size * (6 * hidden + 2 * keys + 4 * inner) + 2 * _FLOAT32 * hidden
    if config.training.enable_gradient_checkpointing:
        return tokens * (text.num_hidden_layers * size * hidden + layer)
    return tokens * text.num_hidden_layers * layer


def logit_bytes(shape: PreTrainedConfig, targets: int) -> float:
    """Bytes of the vocabulary's scores at `targets` places: in bfloat16, in float32, gradient."""
    return targets * shape.get_text_config().vocab_size * (_HALF + 2 * _FLOAT32)


def device_memory(
    census: Census,
    shape: PreTrainedConfig,
    config: TrainConfig,
    *,
    devices: int,
    tokens: int,
    targets: int,
) -> Memory:
    """Bytes on each of `devices` while one pass of `tokens` tokens with `targets` targets runs."""
    shards = _shards(config, devices)
    whole = weight_bytes(census, config)
    weights = whole / shards.weights
    gradients = census.trained * _FLOAT32 / shards.gradients
    optimizer = census.trained * 2 * _FLOAT32 / shards.gradients
    layer = whole * census.largest_layer / census.all
    gathered = 2 * layer if shards.weights > 1 else 0.0  # the one at work and the one fetched early
    if not config.training.use_peft and config.model.torch_dtype_str != "float32":
        # autocast keeps its copy of every weight that is trained until the pass is over
        gathered += _HALF * (census.largest_layer if shards.weights > 1 else census.all)
    elif config.training.use_peft and config.peft.q_lora:
        gathered += _HALF * census.largest_matrix
    offload = config.fsdp.enable_fsdp and config.fsdp.cpu_offload
    host = weights + gradients + optimizer if offload else 0.0
    return Memory(
        weights=0.0 if offload else weights,
        gathered=gathered or (2 * layer if offload else 0.0),
        gradients=0.0 if offload else gradients,
        optimizer=0.0 if offload else optimizer,
        activations=activation_bytes(shape, config, tokens),
        logits=logit_bytes(shape, targets),
        host=host,
    )


class _Shards(NamedTuple):
    weights: int
    gradients: int


def _shards(config: TrainConfig, devices: int) -> _Shards:
    """Into how many pieces FSDP cuts what; without it every device holds everything."""
    strategy = config.fsdp.sharding_strategy
    if not config.fsdp.enable_fsdp or strategy == "NO_SHARD":
        return _Shards(1, 1)
    pieces = min(devices, _PER_NODE) if strategy.startswith("HYBRID") else devices
    return _Shards(1 if strategy in ("SHARD_GRAD_OP", "HYBRID_SHARD_ZERO2") else pieces, pieces)
