"""The order in which a training run sees the rows of its data."""

from __future__ import annotations

import functools

import numpy as np


def shuffled_rows(seed: int, start: int, count: int, size: int) -> np.ndarray:
    """Rows ``start`` to ``start + count`` of an endless stream of epochs, each a new permutation of all rows.

    They depend on the arguments alone, so that a resumed run sees the data that it would have seen.

    Args:
        seed: decides the permutation of each epoch.
        start: how many rows of the stream have been used.
        count: how many are wanted.
        size: number of rows of the data set.
    """
    found, place = [], start
    while place < start + count:
        epoch, first = divmod(place, size)
        found.append(_permutation(seed, epoch, size)[first : first + start + count - place])
        place += len(found[-1])
    return np.concatenate(found) if found else np.zeros(0, np.int64)


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    """The rows of an epoch. A batch may reach from one into the next, so the last two are kept."""
    rows = np.random.default_rng((seed, epoch)).permutation(size)
    rows.flags.writeable = False
    return rows
