"""How a long job gets on: a bar at a terminal, now and then a line in a log file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

_EVERY = 30.0
"""Seconds between two lines of a log."""

_Item = TypeVar("_Item")


def counted(items: Iterable[_Item], what: str, done: int, total: int) -> Iterator[_Item]:
    """The same items; on stderr how many there are, how fast they come, how long it will take.

    Args:
        items: those still to come.
        what: the job, in a word.
        done: items that were there before.
        total: all of them.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        yield from _with_bar(items, what, done, total, console)
    else:
        yield from _with_lines(items, what, done, total, console)


def _with_bar(
    items: Iterable[_Item], what: str, done: int, total: int, console: Console
) -> Iterator[_Item]:
    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=total, completed=done, rate="")
        for item in items:
            speed = progress.tasks[0].speed
            progress.update(bar, advance=1, rate=f"{speed:.2f}/s" if speed else "")
            yield item


def _with_lines(
    items: Iterable[_Item], what: str, done: int, total: int, console: Console
) -> Iterator[_Item]:
    start = said = time.monotonic()
    for number, item in enumerate(items, start=1):
        now = time.monotonic()
        if now - said >= _EVERY:
            said = now
            rate = number / (now - start)
            left = (total - done - number) / rate
            text = f"{what}: {done + number:,} of {total:,}, {rate:.2f}/s, {left:,.0f} s left"
            console.print(text, highlight=False, soft_wrap=True)
        yield item
