"""Several processes compute what one process computes, with whole and with sharded weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoTokenizer

from coalm import jsonl
from coalm.config import load_config
from coalm.errors import TrainError
from coalm.train.config import TrainConfig
from coalm.train.ranks import Ranks
from coalm.train.run import train

Configure = Callable[..., TrainConfig]

# One process loads the packages; its forks are the processes of each run, as torchrun starts them.
LAUNCH = """
import json, os, random, signal, socket, sys, time

import torch

from coalm.errors import CoalmError
from coalm.train.config import TrainConfig
from coalm.train.ranks import joined
from coalm.train.run import train

torch.set_num_threads(1)
count, kills = map(int, sys.argv[1:3])
chance = random.Random(kills)
failed = 0


def start(text):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(count):
        child = os.fork()
        if child == 0:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
            os.environ |= {"LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
            os.environ["MASTER_PORT"] = str(port)
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
    return children


def end(children):
    # One that fails takes the others with it, as under torchrun.
    left = set(children)
    good = True
    while left:
        child, status = os.wait()
        left.discard(child)
        if status and good:
            good = False
            time.sleep(2)  # they may be about to say the same
            for other in left:
                os.kill(other, signal.SIGKILL)
    return good


def size(log):
    return log.stat().st_size if log.exists() else 0


for text in json.loads(sys.argv[3]):
    log = TrainConfig.model_validate_json(text).training.output_dir / "log.jsonl"
    for _ in range(kills):
        before = size(log)
        children = start(text)
        deadline = time.monotonic() + 30
        while size(log) <= before and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.15))
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        print(log.read_bytes().count(b"\\n"))
    failed += not end(start(text))
sys.exit(failed)
"""


def launch(
    configs: Sequence[TrainConfig], count: int = 2, kills: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run each of `configs` in `count` processes, which are killed so often before the end."""
    texts = json.dumps([config.model_dump_json() for config in configs])
    return subprocess.run(
        [sys.executable, "-c", LAUNCH, str(count), str(kills), texts],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )


NEW = ("adapter", "model")


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


@pytest.mark.parametrize(
    "more", [SHARDED, ("training.batching=tree", "model.torch_dtype_str=bfloat16")]
)
def test_killed_processes_go_on_exactly(
    configure: Configure, tmp_path: Path, more: tuple[str, ...]
) -> None:
    def config(name: str) -> TrainConfig:
        return configure(
            *more,
            f"training.output_dir={tmp_path / name}",
            "peft.lora_dropout=0.2",
            "training.max_steps=60",
            "training.save_steps=4",
        )

    killed = launch([config("killed")], kills=5)
    assert killed.returncode == 0, killed.stderr
    steps = [int(line) for line in killed.stdout.split()]
    assert len(steps) == 5
    assert 0 < steps[0] < steps[-1] < 60
    straight = launch([config("straight")])
    assert straight.returncode == 0, straight.stderr
    assert_same_run(tmp_path / "straight", tmp_path / "killed", rel=1e-12)
    with pytest.raises(TrainError, match="killed holds another run: number of processes was 2 and"):
        train(config("killed"))


STEP = 1
"""Passes of each process in a step of the recipe."""
RECIPE = Path(__file__).parents[2] / "configs" / "train" / "405b.yaml"


def recipe_of_405b(model: Path, data: Path, out: Path, *more: str) -> TrainConfig:
    """The recipe with its sizes and paths overridden, and nothing else."""
    overrides = [
        f"model.model_name={model}",
        "model.model_max_length=512",
        f"data.train.datasets.0.dataset_path={data}",
        f"data.validation.datasets.0.dataset_path={data}",
        f"training.output_dir={out}",
        "training.max_steps=10",
        "training.eval_steps=5",
        *more,
    ]
    return load_config(TrainConfig, RECIPE, overrides).config


def assert_learns_alike(alone: Path, sharded: Path, *, rel: float = 0.02) -> None:
    """The loss falls, and the two differ by no more than rounding to bfloat16."""
    rows, others = rows_of(alone), rows_of(sharded)
    for row, other in zip(rows, others, strict=True):
        for key in {"loss", "eval_loss"} & row.keys():
            assert other[key] == pytest.approx(row[key], rel=rel), (row["step"], key)
    losses = [row["eval_loss"] for row in others if "eval_loss" in row]
    assert losses[-1] < losses[0]
    assert load_file(sharded / "adapter" / "adapter_model.safetensors")


def test_the_405b_recipe_trains_four_bit_weights_in_pieces(
    tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    faster = "training.learning_rate=3e-3"
    sharded = recipe_of_405b(tiny_model, data, tmp_path / "sharded", faster)
    assert (sharded.peft.q_lora, sharded.fsdp.enable_fsdp) == (True, True)
    nested = recipe_of_405b(
        tiny_model, data, tmp_path / "nested", faster, "peft.use_bnb_nested_quant=true"
    )
    done = launch([sharded, nested])
    assert done.returncode == 0, done.stderr
    twice = f"training.gradient_accumulation_steps={2 * STEP}"
    alone = train(recipe_of_405b(tiny_model, data, tmp_path / "alone", faster, twice))
    assert_learns_alike(alone.folder, tmp_path / "sharded")
    assert_learns_alike(alone.folder, tmp_path / "nested", rel=0.1)  # its scales are rounded, too


@pytest.mark.model
def test_the_405b_recipe_trains_a_cut_smollm2(smollm2: Path, data: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    AutoModelForCausalLM.from_pretrained(smollm2, num_hidden_layers=3).save_pretrained(cut)
    AutoTokenizer.from_pretrained(smollm2).save_pretrained(cut)
    own = ("model.tokenizer_pad_token=null", "training.learning_rate=1e-3")
    done = launch([recipe_of_405b(cut, data, tmp_path / "sharded", *own)])
    assert done.returncode == 0, done.stderr
    twice = f"training.gradient_accumulation_steps={2 * STEP}"
    alone = train(recipe_of_405b(cut, data, tmp_path / "alone", *own, twice))
    assert_learns_alike(alone.folder, tmp_path / "sharded")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("peft.q_lora=true", "fsdp.enable_fsdp=true"),
            "peft.bnb_4bit_quant_storage: uint8 cannot be sharded; set it to bfloat16",
        ),
        (
            ("fsdp.enable_fsdp=true", "fsdp.transformer_layer_cls=GPT2Block"),
            "fsdp.transformer_layer_cls: the model has no GPT2Block, its layers are LlamaDecoderL",
        ),
        (("model.model_name=no/such",), "no tokenizer can be loaded from no/such"),
    ],
)
def test_an_error_is_said_once(
    configure: Configure, overrides: tuple[str, ...], message: str
) -> None:
    done = launch([configure(*overrides)])
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert line.startswith(message)


def test_sharing_gives_every_process_equally_many_passes() -> None:
    passes = [[0], [1], [2], [], [4]]
    assert Ranks(0, 2).share(passes) == [([0], True), ([2], True), ([4], True)]
    assert Ranks(1, 2).share(passes) == [([1], True), ([0], False), ([0], False)]
    assert Ranks().share(passes[:3]) == [([0], True), ([1], True), ([2], True)]
