"""The standard error of shares of a set that samples reach, from halves of the samples and of the reference."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from run_lib.metrics.nearest import Nearest

HALVINGS = 30
"""How often the sets are halved, which tells the standard error to 13 %."""
LISTED = 64
"""Candidates for each image that are remembered: the chance that none of more is in a half is nil."""


class Share(NamedTuple):
    """Of a reference that samples reach, and its standard error; None: there are too few of either to halve."""

    value: float
    stderr: float | None


def share(
    samples: int, reference: int, k: int, seed: int, statistic: Callable[[np.ndarray, np.ndarray], float]
) -> Share:
    """A share and its standard error over sets of samples, with the reference held fixed.

    A share of the reference that neighbourhoods cover is no mean of independent terms, and resampling with
    replacement would put neighbours at distance zero. Two halves of the samples are independent sets: half of their
    squared difference is the variance for half as many. Halving the reference with them keeps the densities' ratio,
    and the share, as they are; the variance is twice that of the whole.

    Args:
        samples: their number.
        reference: its number.
        k: neighbours that a half must have.
        seed: of the halvings.
        statistic: of some samples and some of the reference, each chosen by a mask (N,).
    """
    value = statistic(np.ones(samples, dtype=bool), np.ones(reference, dtype=bool))
    if min(samples, reference) < 4 * (k + 1):
        return Share(value, None)
    rng, squares = np.random.default_rng(seed), []
    for _ in range(HALVINGS):
        ours, theirs = (rng.permutation(count) < count // 2 for count in (samples, reference))
        squares += [(statistic(ours, half) - statistic(~ours, half)) ** 2 for half in (theirs, ~theirs)]
    return Share(value, math.sqrt(float(np.mean(squares)) / 4))


def listed_neighbours(k: int) -> int:
    """Neighbours to remember, so that a half of them at random has k but for one in 10,000."""
    return 4 * k + 12


def radii_within(neighbours: Nearest, chosen: np.ndarray, k: int) -> np.ndarray:
    """The distance from each point to the k-th of its neighbours that are chosen (N,)."""
    rank = chosen[neighbours.indices].cumsum(1)
    place = np.minimum((rank < k).sum(1), neighbours.distances.shape[1] - 1)
    return np.take_along_axis(neighbours.distances, place[:, None], 1)[:, 0]
