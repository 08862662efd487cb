"""What a training run shows on the screen: its data, its progress, what it left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from coalm.train.dataset import Dropped, TrainingSample, count_sources

_REASONS = 10
"""Reasons for dropping records that are shown."""
_NAMED = 3
"""Records that are named for each reason."""


def show_data(
    console: Console, title: str, samples: Sequence[TrainingSample], dropped: Sequence[Dropped]
) -> None:
    """Print what a split gives to the training, and which records it lost why."""
    table = Table(title=title, title_justify="left")
    for heading in ("skill", "source"):
        table.add_column(heading)
    for heading in ("samples", "tokens", "to learn", "share", "dropped"):
        table.add_column(heading, justify="right")
    for (skill, source), count in count_sources(samples, dropped).items():
        share = count.trainable / count.tokens if count.tokens else 0.0
        table.add_row(
            *(escape(skill), escape(source), f"{count.samples:,}", f"{count.tokens:,}"),
            *(f"{count.trainable:,}", f"{share:.1%}", f"{count.dropped:,}"),
        )
    console.print(table)
    by_reason: dict[str, list[Dropped]] = {}
    for record in dropped:
        by_reason.setdefault(record.reason, []).append(record)
    for reason, records in list(by_reason.items())[:_REASONS]:
        places = [f"{record.where} ({record.labels.id!r})" for record in records[:_NAMED]]
        more = ", ..." if len(records) > _NAMED else ""
        say(console, f"{len(records):,} dropped, {reason}: {', '.join(places)}{more}")
    if len(by_reason) > _REASONS:
        say(console, f"{len(by_reason) - _REASONS:,} more reasons are not shown")


def show_size(console: Console, every: int, trained: int) -> None:
    """Print how many parameters there are and how many are trained."""
    say(console, f"training {trained:,} of {every:,} parameters ({trained / every:.2%})")


def say(console: Console, text: str) -> None:
    """Print a line as it is."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


class StepReport:
    """A line every few steps and, on a terminal, a bar with the time that is left."""

    def __init__(self, console: Console, bar: Progress, total: int, done: int, every: int) -> None:
        self._console = console
        self._bar = bar
        self._total = total
        self._every = every
        self._task = bar.add_task("training", total=total, completed=done)
        self._since: tuple[int, float] | None = None

    def step(self, row: Mapping[str, Any]) -> None:
        """Show a training step's log row."""
        self._bar.update(self._task, completed=row["step"])
        if row["step"] % self._every and row["step"] != self._total:
            return
        tokens, seconds = self._since or (0, 0.0)
        speed = (row["tokens"] - tokens) / max(row["seconds"] - seconds, 1e-9)
        self._since = row["tokens"], row["seconds"]
        left = (self._total - row["step"]) * row["seconds"] / row["step"]
        say(
            self._console,
            f"step {row['step']}/{self._total}  loss {row['loss']:.4f}  rate {row['lr']:.2e}  "
            f"{speed:,.0f} tokens/s  {duration(left)} left",
        )

    def validation(self, row: Mapping[str, Any]) -> None:
        """Show a validation's log row."""
        skills = "  ".join(f"{k} {v:.4f}" for k, v in row["eval_loss_by_skill"].items())
        say(
            self._console,
            f"step {row['step']}/{self._total}  validation loss {row['eval_loss']:.4f}  ({skills})",
        )


@contextmanager
def report_steps(console: Console, total: int, done: int, every: int) -> Iterator[StepReport]:
    """A report for a run of `total` steps of which `done` are behind it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        yield StepReport(console, bar, total, done, every)


def duration(seconds: float) -> str:
    """`1h02m`, `4m12s` or `9s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
