"""The learning rate, step by step."""

from __future__ import annotations

import pytest

from coalm.train.config import TrainingConfig
from coalm.train.schedule import learning_rate, warmup_steps


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1.0, 1.0, 0.853553, 0.5, 0.146447]),
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_rates_with_two_steps_of_warm_up(scheduler: str, expected: list[float]) -> None:
    training = TrainingConfig.model_validate(
        {"learning_rate": 1.0, "lr_scheduler_type": scheduler, "warmup_steps": 2}
    )
    rates = [learning_rate(training, step, 6) for step in range(1, 7)]
    assert rates == pytest.approx(expected, abs=1e-6)


def test_without_warm_up_the_first_step_has_the_full_rate() -> None:
    assert learning_rate(TrainingConfig(learning_rate=0.3), 1, 10) == 0.3


@pytest.mark.parametrize(
    ("keys", "steps"),
    [
        ({}, 0),
        ({"warmup_ratio": 0.1}, 3),
        ({"warmup_ratio": 0.0}, 0),
        ({"warmup_steps": 7, "warmup_ratio": 0.1}, 7),
        ({"warmup_steps": 0, "warmup_ratio": 0.1}, 0),
        ({"warmup_steps": 40}, 40),
    ],
)
def test_warm_up_in_steps_counts_before_the_ratio(keys: dict[str, float], steps: int) -> None:
    assert warmup_steps(TrainingConfig.model_validate(keys), 25) == steps


def test_a_run_shorter_than_its_warm_up_never_falls() -> None:
    training = TrainingConfig(learning_rate=1.0, warmup_steps=10)
    assert [learning_rate(training, step, 3) for step in (1, 2, 3)] == [0.1, 0.2, 0.3]
