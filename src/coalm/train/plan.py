"""What a training file asks for, before a weight is loaded: parameters, memory, tokens, hours.

Nothing here needs the model's weights, a GPU, or the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from transformers import PreTrainedConfig

from coalm.errors import DataError
from coalm.train.config import TrainConfig
from coalm.train.data_size import DataSize, measure_data
from coalm.train.gpus import Gpu
from coalm.train.memory import Census, Memory, device_memory, take_census
from coalm.train.shapes import read_shape

COUNTS = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of devices that are looked at."""
UTILIZATION = 0.35
"""Share of an accelerator's peak that training is expected to reach."""
_USABLE = 0.92
"""Share of a device's memory that tensors can fill: the rest goes to its driver and to gaps."""


class DeviceRow(NamedTuple):
    """The training on one number of devices."""

    devices: int
    memory: Memory
    fits: bool
    hours: float


class Way(NamedTuple):
    """One way to use the model, and what it takes."""

    name: str
    devices: int | None
    """The smallest number of `COUNTS` that holds it; None if none does."""
    gigabytes: float
    """On each of them."""


class Plan(NamedTuple):
    """All that `coalm train --plan` shows."""

    census: Census
    data: DataSize
    samples_a_step: int
    """On one device."""
    steps: int
    """On one device."""
    epochs: float
    gpu: Gpu
    utilization: float
    rows: Sequence[DeviceRow]
    ways: Sequence[Way]


def make_plan(
    config: TrainConfig, gpu: Gpu, *, devices: int | None = None, utilization: float = UTILIZATION
) -> Plan:
    """Plan a training.

    Args:
        config: the training file; data paths may be placeholders.
        gpu: the accelerator to train on.
        devices: how many of them; None looks at several numbers.
        utilization: share of the accelerator's peak that training reaches.

    Raises:
        TrainError: there is no such model.
        DataError: a data file is damaged, or no sample is short enough.
    """
    shape = read_shape(config.model)
    census = take_census(shape, config)
    limit = config.model.model_max_length or shape.get_text_config().max_position_embeddings
    data = measure_data(config, limit)
    if not data.samples:
        raise DataError(f"data.train holds no sample of up to {limit} tokens; raise the limit")
    training = config.training
    batch = training.per_device_train_batch_size
    a_step = batch * training.gradient_accumulation_steps
    an_epoch = -(-data.samples // a_step)
    steps = training.max_steps if training.max_steps > 0 else training.num_train_epochs * an_epoch
    hours = _operations(census, shape, config, data) * steps / an_epoch
    hours /= gpu.teraflops * 1e12 * utilization * 3600
    tokens, targets = batch * data.longest, batch * data.learned

    def memory(count: int) -> Memory:
        return device_memory(census, shape, config, devices=count, tokens=tokens, targets=targets)

    return Plan(
        census=census,
        data=data,
        samples_a_step=a_step,
        steps=steps,
        epochs=steps / an_epoch,
        gpu=gpu,
        utilization=utilization,
        rows=[
            DeviceRow(count, (held := memory(count)), _fits(held.total, gpu), hours / count)
            for count in ([devices] if devices else COUNTS)
        ],
        ways=list(_ways(config, shape, gpu, tokens, targets)),
    )


def _operations(
    census: Census, shape: PreTrainedConfig, config: TrainConfig, data: DataSize
) -> float:
    """Floating-point operations of one epoch.

    A token costs two a weight in the forward pass, as many to carry the gradient back, as many
    again for the gradient of weights that are trained, and one more forward pass with gradient
    checkpointing; attention over half of its sample comes on top.
    """
    text = shape.get_text_config()
    attention = 2 * text.num_hidden_layers * text.hidden_size * data.tokens / data.samples
    forward = 2 * (census.all - census.embedding) + attention
    passes = 2 if config.training.use_peft else 3
    passes += config.training.enable_gradient_checkpointing
    shared = config.training.batching == "tree" and data.shared
    return passes * forward * (shared or data.tokens)


def _ways(
    config: TrainConfig, shape: PreTrainedConfig, gpu: Gpu, tokens: int, targets: int
) -> Iterator[Way]:
    """The same pass trained in every way, sharded and without offload; and the model served."""
    for name, use_peft, q_lora in (
        ("train an adapter on weights in 4 bits (QLoRA)", True, True),
        ("train an adapter on weights in 16 bits (LoRA)", True, False),
        ("train all weights", False, False),
    ):
        other = _sharded(config, use_peft=use_peft, q_lora=q_lora)
        census = take_census(shape, other)

        def total(count: int, census: Census = census, other: TrainConfig = other) -> float:
            return device_memory(
                census, shape, other, devices=count, tokens=tokens, targets=targets
            ).total

        yield _smallest(name, total, gpu)
    weights = 2.0 * take_census(shape, config).all
    yield _smallest("serve it in 16 bits, without room for a cache", lambda n: weights / n, gpu)


def _sharded(config: TrainConfig, *, use_peft: bool, q_lora: bool) -> TrainConfig:
    changes = {
        "training": config.training.model_copy(update={"use_peft": use_peft}),
        "peft": config.peft.model_copy(update={"q_lora": q_lora}),
        "fsdp": config.fsdp.model_copy(update={"enable_fsdp": True, "cpu_offload": False}),
    }
    return config.model_copy(update=changes)


def _smallest(name: str, total: Callable[[int], float], gpu: Gpu) -> Way:
    fitting = (count for count in COUNTS if _fits(total(count), gpu))
    devices = next(fitting, None)
    return Way(name, devices, total(devices or COUNTS[-1]) / 1e9)


def _fits(bytes_: float, gpu: Gpu) -> bool:
    return bytes_ <= _USABLE * gpu.memory * 1e9
