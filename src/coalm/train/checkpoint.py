"""Everything that the next step depends on, saved and restored exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from coalm.errors import TrainError
from coalm.train.model import TrainedModel, save_weights

_STATE = "optimizer.safetensors"
_PROGRESS = "progress.json"
_CPU, _CUDA = "random.cpu", "random.cuda."


class Progress(NamedTuple):
    """How far a run got. With the seed it also fixes the data order and the learning rate."""

    step: int = 0
    """Optimizer steps done."""
    tokens: int = 0
    """Tokens that went through the model, without padding."""
    seconds: float = 0.0
    """Time spent in training steps."""


def save_checkpoint(
    folder: Path, model: TrainedModel, optimizer: Optimizer, progress: Progress
) -> None:
    """Fill `folder`; its weights load like any model or adapter folder."""
    save_weights(model, folder)
    tensors = {
        f"{index}.{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    tensors[_CPU] = torch.get_rng_state()
    for device, state in enumerate(torch.cuda.get_rng_state_all()):
        tensors[f"{_CUDA}{device}"] = state
    save_file(tensors, folder / _STATE)
    (folder / _PROGRESS).write_text(json.dumps(progress._asdict()), encoding="utf-8")


def load_checkpoint(folder: Path, optimizer: Optimizer) -> Progress:
    """Restore the optimizer and the random state; the model was built from `folder` already.

    Raises:
        TrainError: a file of the checkpoint is missing or damaged.
    """
    try:
        progress = Progress(**json.loads((folder / _PROGRESS).read_text(encoding="utf-8")))
        tensors = load_file(folder / _STATE)
        torch.set_rng_state(tensors.pop(_CPU))
        cuda = [name for name in tensors if name.startswith(_CUDA)]
        torch.cuda.set_rng_state_all([tensors.pop(name) for name in sorted(cuda)])
        _restore(optimizer, tensors)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as e:
        raise TrainError(
            f"checkpoint {folder} cannot be read: {e}; remove that folder to go on from the one "
            "before it"
        ) from e
    return progress


def _restore(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]  # these follow from the configuration
    optimizer.load_state_dict({"state": state, "param_groups": groups})
