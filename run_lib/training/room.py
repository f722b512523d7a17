"""How many samples a device has room for at a time."""

from __future__ import annotations

import ctypes
import re
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

MOST = 2**16
"""Samples at a time beyond which nobody looks."""


def largest(fits: Callable[[int], bool], first: int) -> int:
    """The largest number, at most ``MOST``, that fits, if everything below what fits does too; 0: none.

    Args:
        fits: tries a number.
        first: which is tried first; then its doubles while they fit, then what lies between.
    """
    high, low = first, 0
    while high <= MOST and fits(high):
        low, high = high, 2 * high
    high = min(high, MOST + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


def extrapolated(small: tuple[int, int], large: tuple[int, int], free: int) -> int | None:
    """The number of samples that takes so many bytes, on the line through two measured ones; at most ``MOST``.

    Args:
        small, large: number of samples, and the bytes that they took.
        free: bytes that there are.

    Returns:
        None: more samples took no more memory, so nothing follows.
    """
    slope = (large[1] - small[1]) / (large[0] - small[0])
    if slope <= 0:
        return None
    return max(0, min(MOST, int(large[0] + (free - large[1]) / slope)))


def peak(device: torch.device, work: Callable[[], None]) -> int:
    """Bytes that some work takes at its height, beyond those that were taken before it.

    On a GPU those of tensors; else those of the process, which Linux counts anew for each work and others only as far
    as they exceed what there has been.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with suppress(OSError, AttributeError):
        # What glibc keeps of memory that was given back would hide what is taken.
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = _highest()
    work()
    return _highest() - before


def _highest() -> int:
    """The most bytes that this process has taken."""
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if found:
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
