"""What a run shows on the screen."""

from __future__ import annotations

from io import StringIO

import pytest
import torch
from rich.console import Console

from coalm.train.dataset import Dropped, Labels, TrainingSample
from coalm.train.report import duration, report_steps, show_data, show_size


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=120)


def lines(console: Console) -> list[str]:
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue().splitlines()


def dropped(number: int, reason: str) -> Dropped:
    return Dropped(Labels(f"r{number}", "sgd", "LA", "g"), f"f.jsonl:{number}", reason)


def test_dropped_records_are_named_by_reason(console: Console) -> None:
    records = [dropped(n, "longer than 9") for n in range(1, 6)]
    show_data(console, "data.train", [], [*records, dropped(6, "no token to learn")])
    assert lines(console)[-2:] == [
        "5 dropped, longer than 9: f.jsonl:1 ('r1'), f.jsonl:2 ('r2'), f.jsonl:3 ('r3'), ...",
        "1 dropped, no token to learn: f.jsonl:6 ('r6')",
    ]


def test_of_many_reasons_the_first_ten_are_shown(console: Console) -> None:
    show_data(console, "data.train", [], [dropped(n, f"reason {n}") for n in range(12)])
    assert lines(console)[-2:] == [
        "1 dropped, reason 9: f.jsonl:9 ('r9')",
        "2 more reasons are not shown",
    ]


def test_names_in_the_data_are_shown_as_they_are(console: Console) -> None:
    labels = Labels("[bold]a", "[red]src", "[/]", "g")
    sample = TrainingSample(labels, torch.tensor([1, 2]), torch.tensor([False, True]))
    show_data(console, "data.train", [sample], [Dropped(labels, "f:1", "bad [b]")])
    text = "\n".join(lines(console))
    assert "[red]src" in text
    assert "1 dropped, bad [b]" in text


def test_the_share_of_trained_parameters(console: Console) -> None:
    show_size(console, 2_000_000, 50_000)
    assert lines(console) == ["training 50,000 of 2,000,000 parameters (2.50%)"]


def test_a_line_every_few_steps_and_at_the_end(console: Console) -> None:
    row = {"loss": 1.5, "lr": 1e-3}
    with report_steps(console, total=5, done=1, every=2) as report:
        for step in (2, 3, 4, 5):
            report.step({**row, "step": step, "tokens": 100 * step, "seconds": 10.0 * step})
        report.validation(
            {"eval_loss": 1.25, "eval_loss_by_skill": {"LA": 1.0, "TOD": 2.0}, "step": 5}
        )
    assert lines(console) == [
        "step 2/5  loss 1.5000  rate 1.00e-03  10 tokens/s  30s left",
        "step 4/5  loss 1.5000  rate 1.00e-03  10 tokens/s  10s left",
        "step 5/5  loss 1.5000  rate 1.00e-03  10 tokens/s  0s left",
        "step 5/5  validation loss 1.2500  (LA 1.0000  TOD 2.0000)",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.6, "1m00s"), (252, "4m12s"), (3720, "1h02m")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
