"""Every recipe of the repository loads with the model of its folder."""

from __future__ import annotations

import importlib
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from coalm.config import ConfigModel, load_config
from coalm.train.config import TrainConfig

ROOT = Path(__file__).parents[1]
MODELS = {
    "data": "coalm.data.config:DataConfig",
    "train": "coalm.train.config:TrainConfig",
    "infer": "coalm.engines.config:InferConfig",
    "eval": "coalm.evals.config:EvalConfig",
}
RECIPES = [
    path.relative_to(ROOT)
    for path in sorted((ROOT / "configs").rglob("*.y*ml"))
    if path.parent.name != "jobs"
]


def model_of(recipe: Path) -> type[ConfigModel]:
    folder = recipe.parts[1]
    assert folder in MODELS, f"{recipe}: no model is known for configs/{folder}"
    module, _, name = MODELS[folder].partition(":")
    return getattr(importlib.import_module(module), name)


def test_there_are_recipes() -> None:
    assert {"configs/train/smollm2_135m.yaml", "configs/infer/8b.yaml"} <= {
        recipe.as_posix() for recipe in RECIPES
    }


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_recipe_loads_without_a_warning(recipe: Path) -> None:
    _, warnings = load_config(model_of(recipe), ROOT / recipe)
    assert warnings == ()


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_recipe_opens_with_how_to_use_it(recipe: Path) -> None:
    head = (ROOT / recipe).read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    assert all(line.startswith("#") for line in head)
    assert "# Usage:" in head
    commands = ("#   coalm ", "#   torchrun ")
    assert any(line.startswith(commands) and recipe.as_posix() in line for line in head)


@pytest.mark.parametrize("size", ["smollm2_135m", "8b", "70b", "405b"])
def test_training_recipes_are_the_paper_s(size: str) -> None:
    config = load_config(TrainConfig, ROOT / f"configs/train/{size}.yaml").config
    training, peft = config.training, config.peft
    assert (training.use_peft, peft.lora_r, peft.lora_alpha) == (True, 16, 32)
    assert peft.q_lora is (size == "405b")
    processes = 8 if size in ("70b", "405b") else 1
    passes = training.gradient_accumulation_steps * processes
    assert training.per_device_train_batch_size * passes == 8
    assert training.weight_decay == 0.01
    if size != "smollm2_135m":
        assert (training.num_train_epochs, training.max_grad_norm) == (3, 10.0)
        assert training.learning_rate == (1e-4 if size == "405b" else 4e-5)
        assert config.model.model_max_length == 4096


JOBS = sorted((ROOT / "configs" / "train" / "jobs").iterdir())


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_file_can_be_read_and_names_a_recipe(job: Path) -> None:
    text = job.read_text(encoding="utf-8")
    if job.suffix == ".yaml":
        parts = yaml.safe_load(text)
        assert {"resources", "num_nodes", "setup", "run"} <= parts.keys()
        scripts = [parts["setup"], parts["run"]]
    else:
        assert text.startswith("#!/bin/bash\n")
        scripts = [text]
    for script in scripts:
        checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
        assert checked.returncode == 0, checked.stderr
    (recipe,) = set(re.findall(r"configs/train/\w+\.yaml", text))
    assert (ROOT / recipe).is_file()


def test_there_are_jobs() -> None:
    assert {job.suffix for job in JOBS} == {".sh", ".yaml"}
