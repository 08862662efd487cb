"""FSDP: every process keeps a piece of each layer and puts a layer together when it is at work.

torch's `fully_shard` is used, which cuts each tensor along its first dimension. That suits an
adapter in float32 on weights in another type, and weights in four bits: their packed bytes are cut
like any tensor, so they must be stored as a type that torch can gather.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from coalm.errors import ConfigError
from coalm.train.config import FsdpConfig, TrainConfig
from coalm.train.ranks import Ranks

_WEIGHTS_STAY = ("SHARD_GRAD_OP", "HYBRID_SHARD_ZERO2")
"""Strategies that keep the weights together from the forward to the backward pass."""


def is_sharded(config: TrainConfig, ranks: Ranks) -> bool:
    """Whether the weights are cut into pieces: as asked for, and where a launcher is at work."""
    fsdp = config.fsdp
    return ranks.launched and fsdp.enable_fsdp and fsdp.sharding_strategy != "NO_SHARD"


def make_mesh(config: TrainConfig, ranks: Ranks) -> DeviceMesh:
    """The processes as a line, or for HYBRID_SHARD as one line on each machine."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if not config.fsdp.sharding_strategy.startswith("HYBRID"):
        return init_device_mesh(device, (ranks.count,))
    machines = ranks.count // ranks.per_machine
    names = ("replicate", "shard")
    return init_device_mesh(device, (machines, ranks.per_machine), mesh_dim_names=names)


def shard(model: nn.Module, config: TrainConfig, mesh: DeviceMesh, dtype: torch.dtype) -> None:
    """Cut `model` into pieces, layer by layer, and what is outside of the layers as one.

    Args:
        model: in main memory.
        config: the whole training file.
        mesh: the processes.
        dtype: type of the computation.

    Raises:
        ConfigError: there is no layer of the class that is asked for, or the four-bit weights are
            stored in a type that cannot be gathered.
    """
    peft = config.peft
    if config.training.use_peft and peft.q_lora and peft.bnb_4bit_quant_storage == "uint8":
        raise ConfigError(
            "peft.bnb_4bit_quant_storage: uint8 cannot be sharded; set it to bfloat16, or leave "
            "fsdp.enable_fsdp off"
        )
    options = {"mesh": mesh, "mp_policy": _mixed_precision(config, dtype)}
    options["reshard_after_forward"] = config.fsdp.sharding_strategy not in _WEIGHTS_STAY
    if config.fsdp.cpu_offload and mesh.device_type == "cuda":  # else all is in main memory anyway
        options["offload_policy"] = CPUOffloadPolicy()
    for layer in list(layers_to_shard(model, config.fsdp)):
        # Moved as a module: the scales of four-bit weights are no parameters and must come along.
        fully_shard(layer.to(mesh.device_type), **options)
    fully_shard(model, **options)


def layers_to_shard(model: nn.Module, fsdp: FsdpConfig) -> Iterator[nn.Module]:
    """The layers that are gathered one at a time, by class: the named one, or the model's own.

    Raises:
        ConfigError: no layer is of the named class.
    """
    names = set((fsdp.transformer_layer_cls or "").replace(",", " ").split())
    names = {name.rpartition(".")[2] for name in names} or set(_own_classes(model))
    found = [module for module in model.modules() if type(module).__name__ in names]
    if not found:
        has = ", ".join(_own_classes(model)) or "none of its own"
        raise ConfigError(
            f"fsdp.transformer_layer_cls: the model has no {fsdp.transformer_layer_cls}, its "
            f"layers are {has}; correct the key or leave it out"
        )
    yield from found


def is_in_pieces(model: nn.Module) -> bool:
    """Whether `shard` has cut it."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def _own_classes(model: nn.Module) -> list[str]:
    """What transformers says must not be split, if the model has such layers."""
    here = {type(module).__name__ for module in model.modules()}
    return sorted(here & set(getattr(model, "_no_split_modules", None) or ()))


def _mixed_precision(config: TrainConfig, dtype: torch.dtype) -> MixedPrecisionPolicy:
    # Beside an adapter the weights have their type already, and four-bit ones must keep it.
    if config.training.use_peft or dtype != torch.bfloat16:
        return MixedPrecisionPolicy()
    return MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
