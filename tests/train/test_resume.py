"""A run that is killed anywhere and started again computes what it would have computed anyway."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from coalm import jsonl
from coalm.errors import TrainError
from coalm.train.config import TrainConfig
from coalm.train.folder import RunFolder, step_of
from coalm.train.run import train

Configure = Callable[..., TrainConfig]

# One process loads the packages and its forks train, so that a kill costs no start-up.
TRAIN_AND_KILL = """
import os, random, signal, sys, time
from pathlib import Path

import torch

from coalm.train.config import TrainConfig
from coalm.train.run import train

torch.set_num_threads(1)
config = TrainConfig.model_validate_json(sys.argv[1])
kills = int(sys.argv[2])
log = config.training.output_dir / "log.jsonl"
chance = random.Random(sys.argv[3])


def size() -> int:
    return log.stat().st_size if log.exists() else 0


def start() -> int:
    child = os.fork()
    if child == 0:
        train(config)
        os._exit(0)
    return child


for _ in range(kills):
    child, before = start(), size()
    deadline = time.monotonic() + 20
    while size() <= before and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.06))  # some steps and a checkpoint, far from all
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(log.read_bytes().count(b"\\n"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(start(), 0)[1]))
"""


def run_with_kills(config: TrainConfig, kills: int) -> list[int]:
    """Train in a process of its own that is killed so often; log rows at each of the kills."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_AND_KILL, config.model_dump_json(), str(kills), "5"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The log without the times, which no two runs share."""
    return [
        {key: value for key, value in row.items() if key != "seconds"}
        for _, row in jsonl.read(folder / "log.jsonl")
    ]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums in one order, here as in the process that is killed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("use_peft", "batching", "kills", "weights"),
    [
        ("true", "padded", 5, "adapter/adapter_model.safetensors"),
        ("true", "tree", 10, "adapter/adapter_model.safetensors"),
        ("false", "tree", 3, "model/model.safetensors"),
    ],
)
def test_killed_runs_compute_the_numbers_of_an_uninterrupted_one(
    configure: Configure,
    data: Path,
    tmp_path: Path,
    use_peft: str,
    batching: str,
    kills: int,
    weights: str,
) -> None:
    def config(name: str) -> TrainConfig:
        return configure(
            f"training.output_dir={tmp_path / name}",
            f"training.use_peft={use_peft}",
            f"training.batching={batching}",
            "peft.lora_dropout=0.2",
            "training.max_steps=80",
            "training.save_steps=4",
            "training.gradient_accumulation_steps=2",
            "training.group_by_length=true",
            "training.lr_scheduler_type=cosine",
            "training.warmup_ratio=0.1",
            "training.eval_strategy=steps",
            "training.eval_steps=7",
            f"data.validation.datasets.0.dataset_path={data}",
        )

    killed_at = run_with_kills(config("killed"), kills)
    assert len(killed_at) == kills
    assert 0 < killed_at[0] < killed_at[-1] < 80
    straight, killed = train(config("straight")).folder, tmp_path / "killed"
    assert len(rows_of(straight)) == 80 + 80 // 7 + 1
    assert rows_of(killed) == rows_of(straight)
    assert (killed / weights).read_bytes() == (straight / weights).read_bytes()
    assert {path.name for path in killed.iterdir()} == {path.name for path in straight.iterdir()}


def test_checkpoints_are_adapters_and_the_last_two_stay(configure: Configure) -> None:
    run = train(configure("training.save_steps=1")).folder
    assert [path.name for path in RunFolder(run).checkpoints()] == ["checkpoint-3", "checkpoint-4"]
    assert {path.name for path in (run / "checkpoint-3").iterdir()} >= {
        *(
            "adapter_config.json",
            "adapter_model.safetensors",
            "optimizer.safetensors",
            "progress.json",
        ),
    }


def test_a_run_goes_on_from_a_checkpoint_of_another_folder(
    configure: Configure, tmp_path: Path
) -> None:
    first = train(configure("training.save_steps=2", "training.max_steps=3")).folder
    second = train(
        configure(
            "training.max_steps=3",
            f"training.output_dir={tmp_path / 'second'}",
            f"training.resume_from_checkpoint={first / 'checkpoint-2'}",
        )
    ).folder
    assert rows_of(second) == rows_of(first)[2:]


def stopped(configure: Configure, *overrides: str) -> Path:
    """The folder of a run that was killed after its checkpoint at step 2 of 4."""
    folder = train(configure("training.save_steps=2", *overrides)).folder
    RunFolder(folder).write(RunFolder(folder).read() | {"status": "running"})
    shutil.rmtree(folder / "checkpoint-4")
    shutil.rmtree(folder / "adapter")
    return folder


def test_what_a_killed_process_left_half_written_goes(configure: Configure) -> None:
    folder = stopped(configure)
    expected = rows_of(folder)
    with (folder / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    half = folder / ".unfinished-checkpoint-4"
    half.mkdir()
    (half / "optimizer.safetensors").write_text("half")
    (folder / ".unfinished-loss.png").write_text("half")
    train(configure("training.save_steps=2"))
    assert rows_of(folder) == expected
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("optimizer.safetensors", None),
        ("optimizer.safetensors", b"no tensors"),
        ("optimizer.safetensors", b""),
        ("progress.json", None),
        ("progress.json", b"{"),
        ("progress.json", b'{"steps": 1}'),
        ("adapter_model.safetensors", b"short"),
    ],
)
def test_a_damaged_checkpoint_is_named(
    configure: Configure, file: str, content: bytes | None
) -> None:
    path = stopped(configure) / "checkpoint-2" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrainError, match=f"{path.parent} cannot be (read|put on)") as caught:
        train(configure("training.save_steps=2"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "step"),
    [("checkpoint-12", 12), ("checkpoint-", None), ("checkpoint-x", None), ("12", None)],
)
def test_step_of(name: str, step: int | None) -> None:
    assert step_of(Path("run") / name) == step
