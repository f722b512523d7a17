"""Nearest neighbours, exactly: by scikit-learn, without a table of all distances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

ROWS = 1024
"""Whose neighbours are looked at at a time."""


@dataclass(frozen=True)
class Nearest:
    """The nearest neighbours of points.

    Attributes:
        distances: (N, k), float64, ascending of nearest neighbours.
        indices: (N, k), in the other set.
    """

    distances: np.ndarray
    indices: np.ndarray


def nearest(points: np.ndarray, others: np.ndarray, k: int = 1) -> Nearest:
    """The k nearest of other points (M, D) to each point (N, D), in Euclidean distance; all of them where M < k."""
    return _nearest(points, others, min(k, len(others)), itself=False)


def nearest_within(points: np.ndarray, k: int = 1) -> Nearest:
    """The k nearest neighbours of each point (N, D) in its own set, without itself; N > k."""
    return _nearest(points, points, k, itself=True)


def _nearest(points: np.ndarray, others: np.ndarray, k: int, itself: bool) -> Nearest:
    from sklearn.neighbors import NearestNeighbors

    kind = np.result_type(points, others, np.float32)
    points, others = (np.asarray(rows, dtype=kind) for rows in (points, others))
    tree = NearestNeighbors(n_neighbors=k).fit(others)
    indices = tree.kneighbors(None if itself else points, return_distance=False)
    # Its distances come from products, whose rounding makes copies of an image near misses: from differences again.
    distances = np.concatenate(list(_distances(points, others, indices)))
    order = distances.argsort(1, kind="stable")
    return Nearest(np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1))


def _distances(points: np.ndarray, others: np.ndarray, indices: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(points), ROWS):
        block = points[first : first + ROWS].astype(np.float64)
        columns = indices[first : first + ROWS].T
        yield np.stack([np.linalg.norm(block - others[column], axis=1) for column in columns], 1)
