"""The order in which a training run sees the rows of its data."""

from __future__ import annotations

import numpy as np


def shuffled_rows(seed: int, start: int, count: int, size: int) -> np.ndarray:
    """Rows ``start`` to ``start + count`` of an endless stream of epochs, each a fresh permutation of ``size``.

    A function of its arguments alone, so a run that resumes sees the data that it would have seen.
    """
    positions = np.arange(start, start + count)
    orders = {e: np.random.default_rng((seed, e)).permutation(size) for e in np.unique(positions // size)}
    return np.array([orders[p // size][p % size] for p in positions])
