"""Estimates and their standard errors: means, proportions, Student's t intervals, the bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from sde_lib.words import digits


class Estimate(NamedTuple):
    """A value and its standard error, in the same unit; the error is NaN where one draw cannot tell it."""

    value: float
    stderr: float


def mean(values: Sequence[float] | np.ndarray) -> Estimate:
    """The mean of independent values; its standard error is s / sqrt(n), with s^2 the unbiased variance."""
    n = len(values)
    stderr = float(np.std(values, ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    return Estimate(float(np.mean(values)), stderr)


def proportion(hits: np.ndarray) -> Estimate:
    """The share of true values; its standard error is Agresti and Coull's (1998), never zero.

    It is the binomial's of two more hits and two more misses, sqrt(q (1 - q) / (n + 4)) with q = (hits + 2) / (n + 4).
    Of 50 values or more, the share and twice the error cover the truth with a probability of at least 0.92, whatever
    it is; the binomial's own error is zero where all or none are hits.
    """
    return share(int(hits.sum()), len(hits))


def share(hits: int, count: int, among: int = 1) -> Estimate:
    """The share of hits, as ``proportion`` has it; or one that was selected as the least or largest of several.

    Twice the error of the selected one is Agresti and Coull's at z errors, z^2 / 2 more hits and misses, where
    K Q(z) = Q(2): K normal estimates lie beyond z of their errors on one side no more often than one lies beyond two
    (Bonferroni). Without it the least of ten equal shares would be covered three times of four.

    Args:
        hits: how many.
        count: of how many, n.
        among: K, the number of shares of which it was selected; 1: it was not.
    """
    normal = NormalDist()
    z = 2.0 if among == 1 else -normal.inv_cdf(normal.cdf(-2) / among)
    q = (hits + z * z / 2) / (count + z * z)
    return Estimate(hits / count, z / 2 * math.sqrt(q * (1 - q) / (count + z * z)))


@dataclass(frozen=True)
class Interval:
    """A mean and the half width of its confidence interval, which is NaN for a single value."""

    mean: float
    half: float

    def __str__(self) -> str:
        return f"{digits(self.mean, 4)} +- {digits(self.half, 2)}"


def t_interval(values: Sequence[float] | np.ndarray, confidence: float) -> Interval:
    """Student's interval of the mean of independent normal values: mean +- t s / sqrt(n).

    Args:
        values: (n,).
        confidence: the probability that such an interval contains the mean, in (0, 1).
    """
    import scipy.stats  # takes a third of a second to import

    found = mean(values)
    if len(values) < 2:
        return Interval(found.value, math.nan)
    return Interval(
        found.value, float(scipy.stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * found.stderr
    )


def bootstrap(
    statistic: Callable[[np.ndarray], float], samples: np.ndarray, seed: int, repeats: int = 20
) -> float:
    """The standard error of a statistic of a set, by resampling the set with replacement (Efron 1979).

    Args:
        statistic: of a set of samples (N, ...).
        samples: the set.
        seed: of the resampling.
        repeats: number of resampled sets, whose standard deviation is the result.
    """
    rng = np.random.default_rng(seed)
    values = [statistic(samples[rng.integers(len(samples), size=len(samples))]) for _ in range(repeats)]
    return float(np.std(values, ddof=1))
