"""The order in which a training run sees the rows of its data."""

from __future__ import annotations

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
    positions = np.arange(start, start + count)
    orders = {e: np.random.default_rng((seed, e)).permutation(size) for e in np.unique(positions // size)}
    return np.array([orders[p // size][p % size] for p in positions])
