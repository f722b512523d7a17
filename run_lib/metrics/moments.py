"""Means and covariances of features, added up in float64 a block at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

BLOCK = 4096
"""Rows that are added at a time."""


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of a set of vectors.

    Attributes:
        mean: (D,), float64.
        covariance: (D, D), float64, with N - 1 in the denominator; zeros for one vector.
        count: N; 0: it is not recorded, as in published statistics.
    """

    mean: np.ndarray
    covariance: np.ndarray
    count: int = 0

    @classmethod
    def of(cls, rows: np.ndarray, block: int = BLOCK) -> Moments:
        """Of vectors (N, D), which may stay on disk: a block is read at a time."""
        return cls.streamed(rows[first : first + block] for first in range(0, len(rows), block))

    @classmethod
    def streamed(cls, blocks: Iterable[np.ndarray]) -> Moments:
        """Of blocks of vectors (B, D), each looked at once (Chan, Golub & LeVeque 1983, eq. 2.1).

        Raises:
            ValueError: there are no vectors.
        """
        count, mean, scatter = 0, np.zeros(0), np.zeros((0, 0))
        for block in blocks:
            rows = np.asarray(block, dtype=np.float64)
            if not len(rows):
                continue
            own = rows.mean(0)
            centred = rows - own
            own_scatter = centred.T @ centred
            if not count:
                count, mean, scatter = len(rows), own, own_scatter
                continue
            total, offset = count + len(rows), own - mean
            scatter += own_scatter + np.outer(offset, offset) * (count * len(rows) / total)
            mean, count = mean + offset * (len(rows) / total), total
        if not count:
            raise ValueError("a set without images has no mean.")
        return cls(mean, scatter / max(1, count - 1), count)
