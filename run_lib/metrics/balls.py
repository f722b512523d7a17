"""In which balls points lie, exactly, a block of distances at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from run_lib.metrics.nearest import Nearest

ROWS = 2048
"""Of either set in a block."""
ROUNDING = 1e-9
"""Of squared distances, as a share of them: what a tie may differ by."""


def balls_around(
    points: np.ndarray, centres: np.ndarray, radii: np.ndarray, closed: bool = True
) -> np.ndarray:
    """In how many balls each point lies (N,).

    Args:
        points: (N, D).
        centres: of the balls (M, D).
        radii: of the balls (M,).
        closed: whether a point on the sphere is inside.
    """
    reach = torch.from_numpy(radii**2 * (1 + ROUNDING if closed else 1 - ROUNDING))
    counts = np.zeros(len(points), dtype=np.int64)
    for first, block in _blocks(points):
        for start, other in _blocks(centres):
            squares, within = _squares(block, other), reach[start : start + len(other)]
            inside = squares <= within if closed else squares < within
            counts[first : first + len(block)] += inside.sum(1).numpy()
    return counts


def deepest(points: np.ndarray, centres: np.ndarray, radii: np.ndarray, k: int) -> Nearest:
    """The k balls in which each point (N, D) lies deepest, in units of their radii; all of them where there are fewer.

    Returns:
        Distances from their centres, and which balls they are, the deepest first.
    """
    k = min(k, len(centres))
    distances, indices = np.empty((len(points), k)), np.empty((len(points), k), dtype=np.int64)
    # A ball without extent holds what is at its centre alone.
    units = torch.from_numpy(np.maximum(radii, np.finfo(np.float64).tiny ** 0.25))
    for first, block in _blocks(points):
        best = torch.empty(len(block), 0, dtype=torch.float64)
        where = torch.empty(len(block), 0, dtype=torch.int64)
        for start, other in _blocks(centres):
            squares = _squares(block, other) / units[start : start + len(other)].square()
            found = squares.topk(min(k, len(other)), largest=False)
            both, order = torch.cat([best, found.values], 1).sort(dim=1)
            where = torch.cat([where, found.indices + start], 1).gather(1, order)[:, :k]
            best = both[:, :k]
        distances[first : first + len(block)] = (best.sqrt() * units[where]).numpy()
        indices[first : first + len(block)] = where.numpy()
    return Nearest(distances, indices)


def _blocks(rows: np.ndarray) -> Iterator[tuple[int, Tensor]]:
    for first in range(0, len(rows), ROWS):
        yield first, torch.from_numpy(np.array(rows[first : first + ROWS], dtype=np.float64))


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances (A, B): of whole numbers exact, and 0 where they are beneath the rounding of the products."""
    norms = a.square().sum(1)[:, None] + b.square().sum(1)
    squares = torch.addmm(norms, a, b.T, alpha=-2)
    return squares.masked_fill_(squares <= 1e-13 * norms, 0.0)
