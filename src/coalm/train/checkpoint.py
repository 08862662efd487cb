"""Everything that the next step depends on, saved and restored exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from coalm.errors import TrainError
from coalm.train.folder import RunFolder, checkpoint_name
from coalm.train.model import TrainedModel, gather_weights, save_weights
from coalm.train.ranks import Ranks, whole

_STATE = "optimizer.safetensors"
_PROGRESS = "progress.json"
_RANDOM, _CPU, _CUDA = "random", "cpu", "cuda"


class Progress(NamedTuple):
    """How far a run got. With the seed it also fixes the data order and the learning rate."""

    step: int = 0
    """Optimizer steps done."""
    tokens: int = 0
    """Tokens that went through the model, without padding."""
    seconds: float = 0.0
    """Time spent in training steps."""
    best_step: int = 0
    """The step after which the validation loss was lowest; 0 if it was not measured."""
    best_loss: float | None = None
    """That loss."""
    worse: int = 0
    """Validations since then."""


def save_checkpoint(
    run: RunFolder, model: TrainedModel, optimizer: Optimizer, progress: Progress, ranks: Ranks
) -> None:
    """Add a checkpoint to `run`; its weights load like any model or adapter folder.

    All processes must call it; the first writes for all.

    Raises:
        TrainError: it cannot be written.
    """
    weights = gather_weights(model, ranks)
    tensors: dict[str, Tensor] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            tensor = whole(value)
            if ranks.main:
                tensors[f"{index}.{name}"] = tensor
    for index, states in enumerate(ranks.gather(_random_state())):
        tensors |= {f"{_RANDOM}.{index}.{device}": state for device, state in states.items()}

    def write() -> None:
        with run.new(checkpoint_name(progress.step)) as folder:
            save_weights(model, folder, weights)
            save_file(tensors, folder / _STATE)
            (folder / _PROGRESS).write_text(json.dumps(progress._asdict()), encoding="utf-8")

    ranks.on_main(write)


def load_checkpoint(folder: Path, optimizer: Optimizer, ranks: Ranks) -> Progress:
    """Restore the optimizer and the random state; the model was built from `folder` already.

    Raises:
        TrainError: a file of the checkpoint is missing or damaged, or so many processes did not
            write it.
    """
    try:
        progress = Progress(**json.loads((folder / _PROGRESS).read_text(encoding="utf-8")))
        tensors = load_file(folder / _STATE)
        random = {name: tensors.pop(name) for name in list(tensors) if name.startswith(_RANDOM)}
        count = len({name.split(".")[1] for name in random})
        if count == ranks.count:
            _restore_random(random, ranks.index)
        _restore(optimizer, tensors)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as e:
        raise TrainError(
            f"checkpoint {folder} cannot be read: {e}; remove that folder to go on from the one "
            "before it"
        ) from e
    if count != ranks.count:
        raise TrainError(
            f"checkpoint {folder} was written by {count} processes, and this training has "
            f"{ranks.count}; start as many as before"
        )
    return progress


def _random_state() -> dict[str, Tensor]:
    states = {_CPU: torch.get_rng_state()}
    if torch.cuda.is_available():
        states[_CUDA] = torch.cuda.get_rng_state()
    return states


def _restore_random(states: dict[str, Tensor], index: int) -> None:
    torch.set_rng_state(states[f"{_RANDOM}.{index}.{_CPU}"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state(states[f"{_RANDOM}.{index}.{_CUDA}"])


def _restore(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    groups = optimizer.state_dict()["param_groups"]  # these follow from the configuration
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        parameter = parameters[int(index)]
        if isinstance(parameter, DTensor) and tensor.shape == parameter.shape:
            tensor = distribute_tensor(
                tensor.to(parameter.device_mesh.device_type),
                parameter.device_mesh,
                parameter.placements,
            )
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": groups})
