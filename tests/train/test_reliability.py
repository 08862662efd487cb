"""Runs that stop early, keep their best weights, are watched elsewhere, and share no folder."""

from __future__ import annotations

import json
import shutil
import sys
import types
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file

from coalm import jsonl
from coalm.errors import MissingExtraError, TrainError
from coalm.train.card import base_license
from coalm.train.config import TrainConfig
from coalm.train.folder import RunFolder
from coalm.train.loop import TrainingLoop
from coalm.train.run import train
from coalm.train.trackers import scalars

Configure = Callable[..., TrainConfig]
Write = Callable[..., Path]


BEST = 5
"""The step at which validation comes out best."""


@pytest.fixture
def overfit(
    configure: Configure, write: Write, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., TrainConfig]:
    """A run whose validation loss falls up to a step and rises after it, on any processor."""

    other = write("other.jsonl", [{"instruction": "Repeat.", "input": "one", "output": "xyzzy"}])

    def losses(loop: TrainingLoop) -> dict[str, Any]:
        return {"eval_loss": 1.0 + abs(loop.progress.step - BEST), "eval_loss_by_skill": {}}

    monkeypatch.setattr(TrainingLoop, "_validate", losses)

    def configure_it(*overrides: str) -> TrainConfig:
        return configure(
            "training.learning_rate=0.02",
            "training.max_steps=12",
            "training.save_steps=0",
            "training.eval_strategy=steps",
            "training.eval_steps=1",
            f"data.validation.datasets.0.dataset_path={other}",
            *overrides,
        )

    return configure_it


def validations(run: Path) -> list[tuple[int, float]]:
    rows = (row for _, row in jsonl.read(run / "log.jsonl"))
    return [(row["step"], row["eval_loss"]) for row in rows if "eval_loss" in row]


@pytest.mark.parametrize("use_peft", ["true", "false"])
def test_the_best_weights_are_handed_on(
    overfit: Callable[..., TrainConfig], use_peft: str, tmp_path: Path
) -> None:
    peft = f"training.use_peft={use_peft}"
    run = train(overfit(peft, "training.load_best_model_at_end=true")).folder
    assert (run / f"checkpoint-{BEST}").is_dir()
    short = train(
        overfit(peft, f"training.output_dir={tmp_path / 'last'}", "training.save_steps=1")
    ).folder
    file = "adapter/adapter_model.safetensors" if use_peft == "true" else "model/model.safetensors"
    assert not torch.equal(*(next(iter(load_file(r / file).values())) for r in (run, short)))
    kept = load_file(run / f"checkpoint-{BEST}" / Path(file).name)
    torch.testing.assert_close(load_file(run / file), kept, rtol=0, atol=0)


def test_patience_ends_a_run_that_gets_no_better(overfit: Callable[..., TrainConfig]) -> None:
    result = train(overfit("training.early_stopping_patience=2"))
    assert [step for step, _ in validations(result.folder)][-1] == BEST + 2
    assert result.trained == result.folder / "adapter"


def test_the_best_so_far_is_remembered_by_a_run_that_goes_on(
    overfit: Callable[..., TrainConfig],
) -> None:
    config = overfit("training.load_best_model_at_end=true", "training.save_steps=3")
    folder = train(config).folder
    expected, weights = validations(folder), load_file(folder / "adapter/adapter_model.safetensors")
    for path in RunFolder(folder).checkpoints():
        if path.name in ("checkpoint-12", "checkpoint-9"):
            shutil.rmtree(path)
    RunFolder(folder).write(RunFolder(folder).read() | {"status": "running"})
    shutil.rmtree(folder / "adapter")
    train(config)
    assert validations(folder) == expected
    again = load_file(folder / "adapter/adapter_model.safetensors")
    torch.testing.assert_close(again, weights, rtol=0, atol=0)


def test_two_trainings_cannot_share_a_folder(configure: Configure) -> None:
    config = configure()
    with (
        RunFolder(config.training.output_dir).locked(),
        pytest.raises(TrainError, match="run is in use by another training; wait for it, or"),
    ):
        train(config)
    assert train(config).step == 4


def test_tensorboard_shows_every_number_of_the_log(configure: Configure) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(configure()).folder
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    rows = [row for _, row in jsonl.read(run / "log.jsonl")]
    assert set(events.Tags()["scalars"]) == scalars(rows[0]).keys()
    shown = [(event.step, event.value) for event in events.Scalars("loss_by_skill/train.jsonl")]
    assert shown == [(row["step"], pytest.approx(row["loss"])) for row in rows]


def test_without_tensorboard_a_line_says_so(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coalm.train.trackers.find_spec", lambda name: None)
    console = Console(file=StringIO(), width=200)
    run = train(configure(), console=console).folder
    assert "no log for TensorBoard: it is not installed (pip install" in console.file.getvalue()
    assert not (run / "tensorboard").exists()
    with pytest.raises(MissingExtraError, match=r"wandb is not installed; .*'coalm\[wandb\]'"):
        train(configure("training.enable_wandb=true"), overwrite=True)


def test_wandb_is_told_every_row(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Run:
        def log(self, numbers: dict[str, float], step: int) -> None:
            calls.append((step, numbers["loss"]))

        def finish(self) -> None:
            calls.append("finish")

    def init(**settings: Any) -> Run:
        calls.append((settings["name"], settings["config"]["training"]["seed"]))
        return Run()

    package = types.ModuleType("wandb")
    package.__dict__["init"] = init
    monkeypatch.setitem(sys.modules, "wandb", package)
    monkeypatch.setattr("coalm.train.trackers.find_spec", lambda name: True)
    more = ("training.enable_wandb=true", "training.enable_tensorboard=false")
    run = train(configure(*more, "training.run_name=first look")).folder
    rows = [row for _, row in jsonl.read(run / "log.jsonl")]
    assert calls == [
        ("first look", 42),
        *((row["step"], row["loss"]) for row in rows),
        "finish",
    ]


def test_the_model_card(configure: Configure, data: Path) -> None:
    result = train(configure("training.eval_strategy=no"))
    assert result.trained
    card = (result.trained / "README.md").read_text(encoding="utf-8")
    matter = yaml.safe_load(card.split("---\n")[1])
    assert matter["library_name"] == "peft"
    assert matter["license"] == "other"
    run = json.loads((result.folder / "run.json").read_text())
    assert f"| train | {data.name} | {run['data']['train'][0]['sha256']} |" in card
    assert f"| training | 4 | all | {result.loss:.4f} |" in card
    assert f"| training | 4 | train.jsonl | {result.loss:.4f} |" in card
    settings = yaml.safe_load(card.split("```yaml\n")[1].split("```")[0])
    assert settings["training"]["learning_rate"] == 0.01


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("meta-llama/Llama-3.1-405B-Instruct", "llama3.1"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama3.3"),
        ("smollm2-135m-instruct", "apache-2.0"),
        ("Qwen/Qwen2.5-1.5B-Instruct", "apache-2.0"),
        ("Qwen/Qwen2.5-3B-Instruct", None),
        ("some/model", None),
    ],
)
def test_licences_by_name(name: str, expected: str | None) -> None:
    assert base_license(name) == expected


def test_a_licence_from_the_card_of_the_base(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    assert base_license(str(tmp_path)) == "mit"
    (tmp_path / "README.md").write_text("---\nlicense: [\n---\n")
    assert base_license(str(tmp_path)) is None


def test_fsdp_and_liger_say_what_they_lack(configure: Configure) -> None:
    console = Console(file=StringIO(), width=200)
    train(configure("fsdp.enable_fsdp=true", "model.enable_liger_kernel=true"), console=console)
    shown = console.file.getvalue()
    assert "fsdp.enable_fsdp: nothing is sharded in a process that no launcher started" in shown
    if not torch.cuda.is_available():
        assert "model.enable_liger_kernel: the kernels need a GPU" in shown


def test_four_bit_weights_are_trained_on_a_cpu(configure: Configure, data: Path) -> None:
    result = train(
        configure(
            "peft.q_lora=true",
            "training.max_steps=40",
            "training.learning_rate=0.003",
            "training.eval_strategy=steps",
            "training.eval_steps=10",
            f"data.validation.datasets.0.dataset_path={data}",
        )
    )
    losses = [loss for _, loss in validations(result.folder)]
    assert losses[-1] < losses[0] * 0.8
