"""What the system is told of the rows of a mapped array that are going to be read.

Unasked it takes the first byte of a row for the beginning of much more, and reads up to megabytes of neighbours along,
which in a random order are of no use. Where a system has no such call, nothing is told.
"""

from __future__ import annotations

import mmap

import numpy as np


def announce_rows(array: np.ndarray, indices: np.ndarray) -> None:
    """They are read next: all are asked of the disk, they alone, and before the first is waited for.

    Args:
        array: (N, ...), as ``numpy.memmap`` has it; of any other nothing is told.
        indices: of the rows, (B,), in [0, N).
    """
    held = array.base
    if not isinstance(array, np.memmap) or not isinstance(held, mmap.mmap) or not len(array):
        return
    if not hasattr(mmap, "MADV_WILLNEED"):
        return
    row = array.nbytes // len(array)
    begin = array.offset % mmap.ALLOCATIONGRANULARITY  # of row 0, in the mapping
    for first, last in runs(indices):
        start = begin + first * row
        start -= start % mmap.PAGESIZE
        held.madvise(mmap.MADV_WILLNEED, start, begin + last * row - start)


def runs(indices: np.ndarray) -> list[tuple[int, int]]:
    """Of each run of neighbours, in the order in which they come, the first and the one behind the last."""
    if not len(indices):
        return []
    ends = np.flatnonzero(np.diff(indices) != 1)
    firsts, lasts = indices[np.r_[0, ends + 1]], indices[np.r_[ends, len(indices) - 1]]
    return list(zip(firsts.tolist(), (lasts + 1).tolist(), strict=True))
