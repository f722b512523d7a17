"""The sliced Wasserstein distance: that of two sets on lines, averaged over directions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, ClassVar

import numpy as np

from run_lib.metrics.base import Goal, Measured, SetMetric, View, register_metric
from run_lib.metrics.checked import checked_pair
from run_lib.metrics.moments import BLOCK
from sde_lib.settings import Range
from sde_lib.words import digits

LINES = 64
"""Directions at a time."""


@dataclass(frozen=True)
class Transport:
    """Squared 2-Wasserstein distances of two sets on some lines.

    Attributes:
        squares: for each line (L,).
        influence: derivative of their sum by the weight of each sample, up to a constant (N,).
    """

    squares: np.ndarray
    influence: np.ndarray


def transport(samples: np.ndarray, reference: np.ndarray) -> Transport:
    """Optimal transport on lines, from samples (N, L) to a reference (M, L): quantile to quantile."""
    n, m = len(samples), len(reference)
    order = samples.argsort(axis=0)
    ours, theirs = np.take_along_axis(samples, order, 0), np.sort(reference, axis=0)
    # Levels where either quantile function steps, in units of 1/(N M): exact.
    levels = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    below = levels[:-1]
    squares = (np.diff(levels) / (n * m)) @ (ours[below // m] - theirs[below // n]) ** 2
    # Kantorovich's potential: its slope is twice the way to the image, here between neighbouring samples.
    image = theirs[np.minimum(np.arange(1, n) * m // n, m - 1)]
    steps = np.diff(ours, axis=0) * (ours[1:] + ours[:-1] - 2 * image)
    potential = np.concatenate([np.zeros((1, samples.shape[1])), steps.cumsum(0)])
    potential -= potential.mean(0)
    influence = np.empty_like(potential)
    np.put_along_axis(influence, order, potential, 0)
    return Transport(squares, influence.sum(1))


@register_metric(name="sliced_wasserstein")
@dataclass(frozen=True)
class SlicedWasserstein(SetMetric):
    """The root of the mean squared 2-Wasserstein distance on random lines (Bonneel et al. 2015), in features' units.

    The sets may be of different sizes. The standard error is over samples, for these lines. Finite sets of the same
    distribution have a distance too, which falls with their number.

    Args:
        directions: lines, drawn uniformly.
    """

    title: ClassVar[str] = "sliced Wasserstein distance"
    goals: ClassVar[Mapping[str, Goal]] = MappingProxyType({"": "least"})

    directions: Annotated[int, Range(least=1, most=10**6)] = 512

    def measure(self, samples: View, reference: View | None, seed: int) -> tuple[Measured, ...]:
        ours, theirs = checked_pair(samples, reference, "features", self.least(0), self.title)
        rng = np.random.default_rng(seed)
        squares, influence = np.empty(self.directions), np.zeros(len(ours))
        for first in range(0, self.directions, LINES):
            lines = rng.normal(size=(min(LINES, self.directions - first), ours.shape[1]))
            lines /= np.linalg.norm(lines, axis=1, keepdims=True)
            found = transport(_projected(ours, lines), _projected(theirs, lines))
            squares[first : first + LINES] = found.squares
            influence += found.influence
        value = math.sqrt(squares.mean())
        if not value:
            return (Measured("", 0.0, 0.0),)
        of_square = influence.std(ddof=1) / self.directions / math.sqrt(len(ours))
        note = ""
        if self.directions > 1:
            lines_error = squares.std(ddof=1) / math.sqrt(self.directions) / (2 * value)
            note = f"{self.directions} directions; others would change it by {digits(lines_error, 2)}"
        return (Measured("", value, float(of_square / (2 * value)), note=note),)


def _projected(rows: np.ndarray, lines: np.ndarray) -> np.ndarray:
    blocks = (rows[first : first + BLOCK] for first in range(0, len(rows), BLOCK))
    return np.concatenate([np.asarray(block, dtype=np.float64) @ lines.T for block in blocks])
