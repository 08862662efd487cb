"""Small data files, and the configuration of a short run on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from coalm.config import load_config
from coalm.train.config import TrainConfig

Write = Callable[[str, Iterable[Mapping[str, Any]]], Path]
Configure = Callable[..., TrainConfig]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes rows into a JSON-lines file of that name."""

    def write(name: str, rows: Iterable[Mapping[str, Any]]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def data(write: Write) -> Path:
    """Nine Alpaca rows of different lengths."""
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine and a half"]
    rows = [{"instruction": "Repeat.", "input": word, "output": word} for word in words]
    return write("train.jsonl", rows)


@pytest.fixture
def configure(tiny_model: Path, data: Path, tmp_path: Path) -> Configure:
    """Configuration of a run of four steps of two samples, with `overrides` on top."""

    def configure(*overrides: str) -> TrainConfig:
        base = [
            f"model.model_name={tiny_model}",
            f"data.train.datasets.0.dataset_path={data}",
            f"training.output_dir={tmp_path / 'run'}",
            "training.use_peft=true",
            "training.max_steps=4",
            "training.per_device_train_batch_size=2",
            "training.learning_rate=0.01",
        ]
        return load_config(TrainConfig, None, [*base, *overrides]).config

    return configure
