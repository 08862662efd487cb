"""The plan of a training as tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from coalm.train.plan import Plan
from coalm.train.report import say

_KINDS = ("weights", "gathered", "gradients", "optimizer", "activations", "logits", "total", "host")
_NAMES = {"gathered": "put together", "host": "in main memory"}


def show_plan(console: Console, plan: Plan) -> None:
    """Print parameters, data, memory and hours by number of devices, and the other ways."""
    census, data, gpu = plan.census, plan.data, plan.gpu
    say(console, f"parameters  {census.all:,}, trained {census.trained:,}")
    say(console, f"data        {data.samples:,} samples, {data.tokens:,} tokens: {data.origin}")
    if data.shared:
        times = data.tokens / data.shared
        say(
            console, f"            {data.shared:,} tokens with shared beginnings once: {times:.1f}x"
        )
    steps = f"{plan.steps:,} of {plan.samples_a_step} samples on one device"
    say(console, f"steps       {steps}, {plan.epochs:.3g} epochs")
    say(console, f"\nGB on each {gpu.name} of {gpu.memory:g} GB")
    console.print(_by_devices(plan))
    speed = f"{plan.utilization:.0%} of {gpu.teraflops:g} TFLOP/s on each"
    say(console, f"hours are an estimate at {speed}, without what sharding and offloading cost")
    say(console, f"\nThe smallest number of {gpu.name}")
    ways = Table()
    ways.add_column("to")
    ways.add_column("devices", justify="right")
    ways.add_column("GB on each", justify="right")
    for way in plan.ways:
        devices = "none" if way.devices is None else str(way.devices)
        ways.add_row(way.name, devices, f"{way.gigabytes:,.1f}")
    console.print(ways)
    say(console, "sharded over all of them, nothing offloaded to main memory")


def _by_devices(plan: Plan) -> Table:
    """A column for each number of devices, so that it fits a terminal."""
    table = Table()
    table.add_column("devices")
    for row in plan.rows:
        table.add_column(str(row.devices), justify="right")
    for kind in _KINDS:
        amounts = [getattr(row.memory, kind) / 1e9 for row in plan.rows]
        cells = [f"{amount:,.1f}" if amount else "-" for amount in amounts]
        table.add_row(_NAMES.get(kind, kind), *cells)
    table.add_section()
    table.add_row("fits", *("yes" if row.fits else "no" for row in plan.rows))
    table.add_row("hours", *(f"{row.hours:,.1f}" for row in plan.rows))
    return table
