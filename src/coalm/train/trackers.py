"""The log of a run for those who watch it elsewhere: TensorBoard, Weights & Biases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import Any

from rich.console import Console

from coalm.errors import MissingExtraError
from coalm.train.config import TrainConfig
from coalm.train.folder import TENSORBOARD
from coalm.train.report import say

Tracker = Callable[[Mapping[str, Any]], None]
"""Takes every row of the log as it is made."""


def make_trackers(config: TrainConfig, console: Console) -> list[AbstractContextManager[Tracker]]:
    """The trackers that `config` asks for, to be opened when the run begins.

    Raises:
        MissingExtraError: `training.enable_wandb` without wandb.
    """
    trackers: list[AbstractContextManager[Tracker]] = []
    if config.training.enable_tensorboard:
        if find_spec("tensorboard"):
            trackers.append(_tensorboard(config))
        else:
            say(console, "no log for TensorBoard: it is not installed (pip install 'coalm[log]')")
    if config.training.enable_wandb:
        if find_spec("wandb") is None:
            raise MissingExtraError("wandb", "wandb")
        trackers.append(_wandb(config))
    return trackers


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a log row by name; `loss_by_skill` gives one for each skill."""
    found: dict[str, float] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            found |= {f"{key}/{name}": number for name, number in value.items()}
        elif key != "step":
            found[key] = value
    return found


@contextmanager
def _tensorboard(config: TrainConfig) -> Iterator[Tracker]:
    from torch.utils.tensorboard import SummaryWriter

    folder = str(config.training.output_dir / TENSORBOARD)
    writers: list[SummaryWriter] = []

    def track(row: Mapping[str, Any]) -> None:
        step = int(row["step"])
        if not writers:  # what a stopped run wrote beyond this step is forgotten
            writers.append(SummaryWriter(folder, purge_step=step))
        for name, value in scalars(row).items():
            writers[0].add_scalar(name, value, step)

    yield track
    for writer in writers:
        writer.close()


@contextmanager
def _wandb(config: TrainConfig) -> Iterator[Tracker]:
    import wandb  # pyright: ignore[reportMissingImports] # no dependency of ours

    name = config.training.run_name or config.training.output_dir.name
    settings = config.model_dump(mode="json")
    run = wandb.init(name=name, id=name, resume="allow", config=settings)

    def track(row: Mapping[str, Any]) -> None:
        run.log(scalars(row), step=int(row["step"]))

    yield track
    run.finish()
