"""What accelerators hold and compute, from their makers' data sheets."""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple

from coalm.errors import ConfigError


class Gpu(NamedTuple):
    """One accelerator."""

    name: str
    memory: float
    """Gigabytes (10**9 bytes)."""
    teraflops: float
    """Peak of dense bfloat16 matrix products, in 10**12 operations a second."""


_GPUS = (
    Gpu("L4", 24, 121),
    Gpu("RTX4090", 24, 165),
    Gpu("A100-40GB", 40, 312),
    Gpu("L40S", 48, 362),
    Gpu("A100", 80, 312),
    Gpu("H100", 80, 989),
    Gpu("H200", 141, 989),
    Gpu("B200", 180, 2250),
    Gpu("MI300X", 192, 1307),
)
GPUS = {gpu.name: gpu for gpu in _GPUS}
"""By name, small ones first."""


def find_gpu(name: str) -> Gpu:
    """The accelerator of that name, in any case.

    Raises:
        ConfigError: there is none in the list.
    """
    for known, gpu in GPUS.items():
        if known.lower() == name.lower():
            return gpu
    near = get_close_matches(name.upper(), GPUS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(GPUS)}"
    raise ConfigError(f"--gpu: no data sheet of {name!r} is known; {hint}")
