"""Benchmarks by name; each is imported only when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any

from coalm.evals.base import Sample, SampleResult, Score, Task
from coalm.evals.config import EvalConfig

__all__ = [
    "TASKS",
    "EvalConfig",
    "Sample",
    "SampleResult",
    "Score",
    "Task",
    "list_tasks",
    "load_task",
]

TASKS = {
    "apibank": "coalm.evals.apibank.task.ApiBank",
    "bfcl": "coalm.evals.bfcl.task.Bfcl",
    "heldout": "coalm.evals.heldout.HeldOut",
    "multiwoz": "coalm.evals.multiwoz.task.MultiWoz",
    "world": "coalm.evals.world.task.World",
}
"""Name to dotted path of the class, which is built from the section of the same name."""


def load_task(config: EvalConfig) -> Task:
    """The benchmark that a configuration asks for.

    Raises:
        FormatError: its instruction file cannot be used.
        EvalError: its prompts are fixed texts, and answers are to be guided.
    """
    section, guided = getattr(config, config.task), config.generation.guided
    return _task_class(config.task)(section, guided=guided)


def list_tasks() -> dict[str, str]:
    """Every benchmark and what it asks of a model."""
    return {name: _task_class(name).about for name in TASKS}


def _task_class(name: str) -> type[Any]:
    module, _, cls = TASKS[name].rpartition(".")
    return getattr(importlib.import_module(module), cls)
