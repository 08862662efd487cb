"""Main memory that training and answering on the CPU would hold without using it.

The C library keeps what tensors give back in holes between those that stay, and holes add up: of
2.4 GB at the peak of rows of 2,400 tokens, 1.1 were free. And oneDNN, with torch's layer above it,
keeps code for the last 1,024 shapes that it multiplied: rows of trees are never of one shape, and
so are prompts of a running batch.
"""

from __future__ import annotations

import ctypes
import os

_OWN_BLOCK = 2 * 2**20
"""Bytes from which on a tensor gets pages of its own, which go back with it; smaller is slower."""
_M_MMAP_THRESHOLD = -3  # malloc.h
_CAPACITIES = {
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256",  # about what one row needs, so that layers share it
    "LRU_CACHE_CAPACITY": "16",
}


def keep_heap_small() -> None:
    """Ask for less, unless the environment says what is wanted; before anything is multiplied.

    What is computed stays the same. A C library other than glibc is left as it is.
    """
    for name, capacity in _CAPACITIES.items():
        os.environ.setdefault(name, capacity)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        mallopt(_M_MMAP_THRESHOLD, _OWN_BLOCK)


def give_back_heap() -> None:
    """Give the holes back that are there now; glibc only."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
