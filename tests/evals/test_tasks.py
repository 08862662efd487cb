from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from coalm.errors import EvalError
from coalm.evals import TASKS, EvalConfig, list_tasks, load_task
from coalm.evals.config import TaskName
from coalm.types import GuidedPrompt

FIXTURES = Path(__file__).parents[1] / "fixtures"
HEAVY = {"torch", "transformers", "matplotlib", "numpy", "jieba", "nltk", "rouge_chinese"}


def test_every_task_has_a_name_a_class_and_a_section() -> None:
    assert set(TASKS) == set(get_args(TaskName)) == set(list_tasks())
    assert set(TASKS) <= set(EvalConfig.model_fields)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_built_from_its_section(name: str) -> None:
    task = load_task(
        EvalConfig.model_validate(
            {"task": name, "model": {"model_name": "m"}, "output_dir": Path("out")}
        )
    )
    assert task.name == name
    assert set(task.main_figures) <= set(task.figures)
    assert task.groups


def test_listing_benchmarks_is_light() -> None:
    code = "import sys, coalm.cli.eval; coalm.cli.eval.list_benchmarks(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(TASKS) + 1
    assert not HEAVY & {name.partition(".")[0] for name in lines[-1].split()}


@pytest.mark.parametrize(
    ("task", "fault"),
    [
        ("apibank", "apibank: Hammer's prompts leave answers free; set form: original"),
        ("bfcl", "bfcl: the official prompts leave answers free; set bfcl.style: calls"),
    ],
)
def test_prompts_of_others_cannot_be_guided(task: str, fault: str, tmp_path: Path) -> None:
    config = EvalConfig.model_validate(
        {
            "task": task,
            "model": {"model_name": "x"},
            "generation": {"guided": True},
            "output_dir": tmp_path,
        }
    )
    with pytest.raises(EvalError) as caught:
        load_task(config)
    assert str(caught.value) == fault


def test_guided_samples_carry_a_grammar(tmp_path: Path) -> None:
    config = EvalConfig.model_validate(
        {
            "model": {"model_name": "x"},
            "apibank": {"form": "original", "data_dir": FIXTURES / "apibank"},
            "generation": {"guided": True},
            "output_dir": tmp_path,
        }
    )
    task = load_task(config)
    prompt = next(task.rollout(task.samples()[0]))
    assert isinstance(prompt, GuidedPrompt)
    assert "arguments" in prompt.grammar
