"""Several processes compute what one process computes, with whole and with sharded weights."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close
from transformers import AutoModelForCausalLM

from coalm import jsonl
from coalm.train.config import TrainConfig
from coalm.train.ranks import Ranks
from coalm.train.run import train

Configure = Callable[..., TrainConfig]

# One process loads the packages; its forks are the processes of each run, as torchrun starts them.
LAUNCH = """
import json, os, sys

import torch

from coalm.errors import CoalmError
from coalm.train.config import TrainConfig
from coalm.train.ranks import joined
from coalm.train.run import train

torch.set_num_threads(1)
count, port = int(sys.argv[1]), int(sys.argv[2])
failed = 0
for number, text in enumerate(json.loads(sys.argv[3])):
    children = []
    for rank in range(count):
        child = os.fork()
        if child == 0:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
            os.environ |= {"LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
            os.environ["MASTER_PORT"] = str(port + number)
            try:
                with joined() as ranks:
                    train(TrainConfig.model_validate_json(text), ranks=ranks)
            except CoalmError as e:
                print(e, flush=True)
                os._exit(1)
            except SystemExit:
                os._exit(1)
            os._exit(0)
        children.append(child)
    failed += any([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
sys.exit(failed)
"""


def launch(configs: Sequence[TrainConfig], count: int = 2) -> subprocess.CompletedProcess[str]:
    """Run each of `configs` in `count` processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    texts = json.dumps([config.model_dump_json() for config in configs])
    return subprocess.run(
        [sys.executable, "-c", LAUNCH, str(count), str(port), texts],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for _, row in jsonl.read(folder / "log.jsonl")]


def assert_same_run(one: Path, other: Path, *, rel: float) -> None:
    """Losses of every step and skill, gradient norms, counts and the trained weights."""
    rows, others = rows_of(one), rows_of(other)
    assert len(rows) == len(others)
    for row, same in zip(rows, others, strict=True):
        assert row.keys() == same.keys()
        for key in row.keys() - {"seconds"}:
            assert same[key] == pytest.approx(row[key], rel=rel), (row["step"], key)
    (weights,) = (
        load_file(file) for file in one.glob("*/*.safetensors") if file.parent.name in NEW
    )
    (same,) = (load_file(file) for file in other.glob("*/*.safetensors") if file.parent.name in NEW)
    assert_close(same, weights, rtol=rel * 100, atol=rel)


NEW = ("adapter", "model")
STEPS = ("training.max_steps=4", "training.eval_strategy=steps", "training.eval_steps=2")
SHARDED = ("fsdp.enable_fsdp=true", "fsdp.transformer_layer_cls=LlamaDecoderLayer")


@pytest.fixture(scope="module")
def variants() -> dict[str, tuple[tuple[str, ...], float]]:
    """What is trained in two processes and in one, and how much rounding may differ."""
    precise = "model.torch_dtype_str=float64"
    return {
        "lora": ((precise,), 1e-9),
        "full": ((precise, "training.use_peft=false"), 1e-9),
        # other rows: the norms round to float32 in between
        "tree": ((precise, "training.batching=tree", "training.learning_rate=1e-4"), 1e-6),
        "lora-sharded": ((precise, *SHARDED), 1e-9),
        "lora-checkpointing": (
            (precise, "fsdp.enable_fsdp=true", "training.enable_gradient_checkpointing=true"),
            1e-9,
        ),
        "full-sharded": ((precise, "training.use_peft=false", *SHARDED), 1e-9),
    }


def test_two_processes_compute_what_one_does(
    configure: Configure,
    data: Path,
    tmp_path: Path,
    variants: dict[str, tuple[tuple[str, ...], float]],
) -> None:
    def config(name: str, *more: str) -> TrainConfig:
        return configure(
            *STEPS,
            *variants[name.removesuffix("-alone")][0],
            *more,
            f"training.output_dir={tmp_path / name}",
            f"data.validation.datasets.0.dataset_path={data}",
        )

    # nine samples: passes of two, five of them an epoch, so two processes run out of step
    done = launch([config(name, "training.gradient_accumulation_steps=1") for name in variants])
    assert done.returncode == 0, done.stderr
    for name, (_, rel) in variants.items():
        alone = train(config(f"{name}-alone", "training.gradient_accumulation_steps=2"))
        assert_same_run(alone.folder, tmp_path / name, rel=rel)
        assert json.loads((tmp_path / name / "run.json").read_text())["processes"] == 2
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "full-sharded" / "model")
    assert saved.config.architectures == ["LlamaForCausalLM"]


def test_sharing_gives_every_process_equally_many_passes() -> None:
    passes = [[0], [1], [2], [], [4]]
    assert Ranks(0, 2).share(passes) == [([0], True), ([2], True), ([4], True)]
    assert Ranks(1, 2).share(passes) == [([1], True), ([0], False), ([0], False)]
    assert Ranks().share(passes[:3]) == [([0], True), ([1], True), ([2], True)]
