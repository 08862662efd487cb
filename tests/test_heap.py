"""What tensors give back goes back to the machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytest.importorskip("torch")

HOLES = """
import os, sys
from pathlib import Path
import torch
from coalm.heap import keep_heap_small

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20

if sys.argv[1] == "small":
    keep_heap_small()
torch.ones(4_000_000)  # the first block that comes back makes glibc keep all of its size
before = resident()
gone, stay = [], []
for _ in range(50):
    gone.append(torch.ones(1_000_000))
    stay.append(torch.ones(5_000))  # a heap gives back nothing but its end
gone.clear()
print(resident() - before, os.environ.get("ONEDNN_PRIMITIVE_CACHE_CAPACITY"))
"""


def kept(mode: str, **more: str) -> tuple[float, str]:
    """MB that are kept of 200 given back, and for how many shapes oneDNN may keep code."""
    others = {name: text for name, text in os.environ.items() if not name.startswith("ONEDNN")}
    command = [sys.executable, "-c", HOLES, mode]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**others, **more}
    )
    megabytes, shapes = done.stdout.split()
    return float(megabytes), shapes


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other heaps")
def test_what_is_given_back_is_not_kept() -> None:
    assert kept("as it is")[0] > 100
    megabytes, shapes = kept("small")
    assert megabytes < 20
    assert shapes == "256"


def test_the_environment_goes_before() -> None:
    assert kept("small", ONEDNN_PRIMITIVE_CACHE_CAPACITY="7")[1] == "7"
