"""Paired comparison of settings under shared seeds: which is best, and which cannot be told from it."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from run_lib.statistics import Interval


@dataclass(frozen=True)
class Comparison:
    """Settings compared with the one of least mean loss.

    Attributes:
        best: index of the setting with the least mean loss.
        differences: each setting's loss less the best's, paired seed by seed, so that the noise that the seeds share
            cancels. The true differences lie above the lower ends of all these intervals at once with the given
            confidence, although the best was selected by the same losses.
        equal: whether the interval of the difference contains zero, so that the setting cannot be told from the
            best. With the given confidence this holds of every setting that is truly a best one.
    """

    best: int
    differences: tuple[Interval, ...]
    equal: tuple[bool, ...]


def compare(losses: np.ndarray, confidence: float) -> Comparison:
    """Compare settings by their losses (settings, repeats), the smaller the better, at a confidence in (0, 1).

    A multiple comparison with the best (after Hsu 1984). Each difference has a standard error of its own: that of a
    setting whose losses scatter widens no other's interval.

    A setting of which a loss is not finite is never the best, nor equal to it; at least one other there must be.
    """
    finite = np.isfinite(losses).all(1)
    losses = np.where(finite[:, None], losses, np.nan)
    best = int(np.nanargmin(losses.mean(1)))
    repeats = losses.shape[1]
    paired = losses - losses[best]
    halves = simultaneous_factor(int(finite.sum()), repeats, confidence) * (
        paired.std(1, ddof=1) / math.sqrt(repeats)
    )
    differences = tuple(map(Interval, paired.mean(1).tolist(), halves.tolist()))
    return Comparison(best, differences, tuple(d.mean <= d.half for d in differences))


@functools.cache
def simultaneous_factor(settings: int, repeats: int, confidence: float) -> float:
    """How many standard errors below its estimate the difference to the best is bounded, of all settings at once.

    Of K settings let d_ij be the mean of n paired differences i - j, normal with mean delta_ij and any covariance,
    s_ij its estimated and sigma_ij its true standard error, and b the setting of least mean. An error is
    d_ib - delta_ib > c s_ib for some i. The means, b among them, are independent of the deviations that s_ij is
    made of, so that s_ib^2 / sigma_ib^2 is distributed as V = chi^2_{n-1} / (n - 1) whatever b is; and
    z = (d_ib - delta_ib) / sigma_ib exceeds x with a probability of at most min(P(b != i), (K - 1) Q(x)), the sum
    over the settings that b may be, Q the upper tail of the normal distribution. The probabilities P(b != i) add up to
    K - 1, so that summed over i

        P(error) <= (K - 1) E min(1, K Q(c sqrt(V))) = (K - 1) K int_{Q(z) < 1/K} P(c sqrt(V) < z) phi(z) dz.

    The factor is the c that makes this 1 - confidence. Equal variances are not assumed. For two settings it is
    Student's two-sided quantile; for more it lies below that of Bonferroni's K (K - 1) one-sided tests.

    Args:
        settings: K, at least 1.
        repeats: n, at least 2.
        confidence: the probability that there is no error, in (0, 1).
    """
    import scipy.optimize
    import scipy.special
    import scipy.stats

    if settings == 1:
        return 0.0
    pairs, free, least = settings * (settings - 1), repeats - 1, scipy.stats.norm.isf(1 / settings)

    x = (
        np.arange(8000) + 0.5
    ) / 8000  # the midpoint rule in z = least + 40 x^3, fine where the integral begins
    z = least + 40 * x**3
    weight = pairs * np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * 120 * x**2

    def excess(c: float) -> float:
        return float((weight * scipy.special.chdtr(free, free * (z / c) ** 2)).mean()) - (1 - confidence)

    most = float(scipy.stats.t.isf((1 - confidence) / pairs, free))
    return float(scipy.optimize.brentq(excess, 1e-3 * most, 1.01 * most + 1, rtol=1e-9))


def runs(equal: Sequence[bool], order: Sequence[int]) -> list[list[int]]:
    """The settings that cannot be told from the best, in the given order, apart where one that can lies between.

    Args:
        equal: for each setting, whether it cannot be told from the best.
        order: indices of all settings, in the order of their values.
    """
    found: list[list[int]] = [[]]
    for index in order:
        if equal[index]:
            found[-1].append(index)
        elif found[-1]:
            found.append([])
    return [run for run in found if run]
