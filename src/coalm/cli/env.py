"""`coalm env`: everything about this machine that a bug report should hold."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import typer

from coalm import __version__
from coalm.cli.fetch import state_of, state_of_model

_PACKAGES = ("torch", "transformers", "peft", "safetensors", "gguf", "pydantic", "vllm")


def env() -> None:
    """Print versions, hardware, settings and which outside files are here."""
    rows = list(_rows())
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        typer.echo(f"{name:<{width}}  {value}")


def _rows() -> Iterator[tuple[str, str]]:
    from coalm import assets
    from coalm.engines.named import NAMED

    yield "coalm", __version__
    yield "python", f"{platform.python_version()} ({platform.platform()})"
    for package in _PACKAGES:
        yield package, _version(package)
    yield "device", _device()
    yield "cores", str(_cores())
    yield "memory", _memory()
    yield "COALM_HOME", os.environ.get("COALM_HOME") or f"not set, {assets.home()}"
    yield "COALM_DATA", os.environ.get("COALM_DATA") or "not set"
    for name in assets.ASSETS:
        yield name, state_of(name)
    for name in NAMED:
        yield name, state_of_model(name)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _device() -> str:
    """What a model would run on; the only row that loads torch."""
    if importlib.util.find_spec("torch") is None:
        return "unknown without torch"
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return "cuda: " + ", ".join(f"{c.name} ({c.total_memory / 2**30:.0f} GiB)" for c in cards)
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _cores() -> int:
    """Cores that this process may use; a container often gets fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):
        return "unknown"
    return f"{total / 2**30:.0f} GiB"
