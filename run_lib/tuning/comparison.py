"""Which of several settings is best, and which cannot be told from it, by repeated seeds that all share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean and the half width of its confidence interval; ``half`` is NaN for a single value."""

    mean: float
    half: float

    def __str__(self) -> str:
        return f"{self.mean:.4g} +- {self.half:.2g}"


def t_interval(values: Sequence[float] | np.ndarray, confidence: float) -> Interval:
    """Student's interval of the mean of independent normal values: mean +- t s / sqrt(n)."""
    import scipy.stats  # takes a third of a second to import

    n = len(values)
    if n < 2:
        return Interval(float(np.mean(values)), math.nan)
    quantile = scipy.stats.t.ppf((1 + confidence) / 2, n - 1)
    return Interval(float(np.mean(values)), float(quantile * np.std(values, ddof=1) / math.sqrt(n)))


@dataclass(frozen=True)
class Comparison:
    """Losses of several settings under the same seeds, against the least.

    Attributes:
        best: the setting of the least mean loss.
        differences: of each setting's loss to the best's, seed by seed: what the seeds share cancels.
        equal: whether zero is within the interval of the difference: the setting cannot be told from the
            best. Each is tested at the confidence asked for, on its own.
    """

    best: int
    differences: tuple[Interval, ...]
    equal: tuple[bool, ...]


def compare(losses: np.ndarray, confidence: float) -> Comparison:
    """Compare the rows of ``losses`` (settings, repeats), the smaller the better."""
    best = int(losses.mean(1).argmin())
    differences = tuple(t_interval(row, confidence) for row in losses - losses[best])
    return Comparison(best, differences, tuple(d.mean <= d.half for d in differences))


def run_around(best: int, equal: Sequence[bool], order: Sequence[int]) -> list[int]:
    """Those of the settings, put in the given order, that lie next to the best without a gap and equal it."""
    place = list(order).index(best)
    low = high = place
    while low > 0 and equal[order[low - 1]]:
        low -= 1
    while high < len(order) - 1 and equal[order[high + 1]]:
        high += 1
    return list(order[low : high + 1])
