"""The learning rate as a function of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from coalm.train.config import TrainingConfig


def learning_rate(training: TrainingConfig, step: int, total: int) -> float:
    """The rate of step `step` out of `total`, counted from 1.

    It rises in equal parts to its full value at the last warm-up step; then it falls, so that the
    step after the last one would have 0, or stays.
    """
    warmup = warmup_steps(training, total)
    if step <= warmup:
        return training.learning_rate * step / warmup
    done = (step - 1 - warmup) / max(1, total - warmup)
    match training.lr_scheduler_type:
        case "linear":
            return training.learning_rate * (1 - done)
        case "cosine":
            return training.learning_rate * (1 + math.cos(math.pi * done)) / 2
        case "constant":
            return training.learning_rate


def warmup_steps(training: TrainingConfig, total: int) -> int:
    """Steps of warm-up in a run of `total` steps."""
    if training.warmup_steps is not None:
        return training.warmup_steps
    return math.ceil(total * (training.warmup_ratio or 0.0))
