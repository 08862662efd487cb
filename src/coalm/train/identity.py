"""What a run was started with, and whether a folder's run is the one that is asked for."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from coalm import __version__
from coalm.errors import TrainError
from coalm.train.config import SplitConfig, TrainConfig

_PACKAGES = ("torch", "transformers", "peft", "tokenizers")
_VALIDATION = {
    *("training.eval_steps", "training.eval_strategy", "training.per_device_eval_batch_size"),
}
_FREE = {
    *("model.trust_remote_code", "training.output_dir", "training.save_steps"),
    *("training.logging_steps", "training.enable_wandb", "training.resume_from_checkpoint"),
    *("training.try_resume_from_last_checkpoint", "training.save_final_model"),
    *("training.enable_tensorboard", "training.run_name"),
    *_VALIDATION,
}
"""Keys that may change on the way: they do not touch what is learned."""
_CHOOSING = ("load_best_model_at_end", "early_stopping_patience")
"""Keys by which validation decides what is handed on."""


def describe(config: TrainConfig, processes: int = 1) -> dict[str, Any]:
    """Configuration, checksums of the data files and versions, as `run.json` has them."""
    data = {"train": _checksums(config.data.train)}
    if config.training.eval_strategy != "no":
        data["validation"] = _checksums(config.data.validation)
    versions = {name: version(name) for name in _PACKAGES}
    return {
        "kind": "train",
        "processes": processes,
        "config": config.model_dump(mode="json"),
        "data": data,
        "versions": {"coalm": __version__, "python": platform.python_version(), **versions},
    }


def require_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that the run in `folder` is the one that is asked for.

    Raises:
        TrainError: it was started with another configuration or other data.
    """
    old, new = _decisive(before), _decisive(now)
    changed = [
        f"{key} was {old.get(key)!r} and is {new.get(key)!r}"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]
    if changed:
        more = f" (and {len(changed) - 3} more)" if len(changed) > 3 else ""
        raise TrainError(
            f"{folder} holds another run: {'; '.join(changed[:3])}{more}; choose another "
            "training.output_dir, or replace that run with --overwrite"
        )


def _decisive(description: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key to value of everything that decides what the run learns."""
    keys = dict(_leaves(description.get("config", {}), ""))
    chooses = any(keys.get(f"training.{key}") for key in _CHOOSING)
    chosen = {
        key: value
        for key, value in keys.items()
        if key not in (_FREE - _VALIDATION if chooses else _FREE)
        and (chooses or not key.startswith("data.validation."))
        and not key.endswith(".dataset_path")  # the contents count, wherever they lie
    }
    chosen["number of processes"] = description.get("processes", 1)
    for index, file in enumerate(description.get("data", {}).get("train", ())):
        chosen[f"sha256 of data.train.datasets.{index}"] = file["sha256"]
    return chosen


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        yield path, value
        return
    for key, item in items:
        yield from _leaves(item, f"{path}.{key}" if path else key)


def _checksums(split: SplitConfig) -> list[dict[str, str]]:
    return [
        {"path": str(dataset.dataset_path), "sha256": _sha256(dataset.dataset_path)}
        for dataset in split.datasets
        if dataset.dataset_path is not None
    ]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
