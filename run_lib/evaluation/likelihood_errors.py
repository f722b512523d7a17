"""Standard errors of a mean log-likelihood: over images, over draws of noise, and over probes alone.

With y_ir the number of image i of N in repeat r of R, each repeat with dequantisation noise and probes of its
own, and y_i its mean over r:

    together    sd_i(y_i) / sqrt(N): of the mean as an estimate for images that were not seen; it has all in it;
    draws       sqrt(mean_i sd_r(y_ir)^2 / R / N): of the mean over these very images; needs R >= 2;
    probes      the part of ``draws`` that probes make, from their spread within each y_ir; needs 2 probes;
    images      sqrt(together^2 - draws^2): what would be left with infinitely many draws.

With importance weights y_i = log mean_r exp(w_ir), whose error over draws is the jackknife's (Tukey 1958), with y_i(r)
of all repeats but r: (R - 1) / R sum_r (y_i(r) - mean_r y_i(r))^2 is its square. The delta method's, the relative error
of the mean weight, is a third too small for two weights whose logarithms scatter by one, and never more than one nat,
however widely they scatter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from run_lib.statistics import mean


@dataclass(frozen=True)
class Spread:
    """A mean log-likelihood and its standard errors, as defined above; None where the draws cannot tell one."""

    value: float
    together: float
    images: float | None
    draws: float | None
    probes: float | None

    def scaled(self, factor: float) -> Spread:
        """The same in a unit ``factor`` times as fine."""

        def of(error: float | None) -> float | None:
            return None if error is None else factor * error

        return Spread(
            factor * self.value, factor * self.together, of(self.images), of(self.draws), of(self.probes)
        )


def spread(
    values: np.ndarray, probe_errors: np.ndarray, *, noisy: bool, importance_weighted: bool = False
) -> Spread:
    """The mean of log-likelihoods over images and repeats, and its standard errors.

    Args:
        values: y, (R, N), for R repeats of N images.
        probe_errors: standard errors of ``values`` over probes, (R, N); NaN where one probe cannot tell it.
        noisy: whether repeats differ by more than probes, that is by dequantisation or noise at t_min.
        importance_weighted: combine an image's repeats as weights.
    """
    repeats, count = values.shape
    if importance_weighted:
        top = values.max(0)
        weights = np.exp(values - top)
        per_image = top + np.log(weights.mean(0))
        variance = _jackknife(values) if repeats > 1 else None
    else:
        per_image = values.mean(0)
        variance = values.var(0, ddof=1) / repeats if repeats > 1 else None
    probes = _root(float(np.square(probe_errors).mean()) / (repeats * count))
    if variance is not None:
        draws = _root(float(variance.mean()) / count)
    else:
        draws = None if noisy else probes
    value, together = mean(per_image)
    images = None if draws is None else _root(max(together**2 - draws**2, 0.0))
    return Spread(value, together, images, draws, probes)


def _jackknife(values: np.ndarray) -> np.ndarray:
    """Variance of each image's log mean weight over draws, (N,), from log-weights (R, N), R at least 2.

    Sums of the other weights are added up in logarithms from both ends, since taking one that outweighs the others off
    the sum of all would leave rounding errors.
    """
    repeats, none = len(values), np.full((1, values.shape[1]), -np.inf)
    before = np.logaddexp.accumulate(values, axis=0)[:-1]
    after = np.logaddexp.accumulate(values[::-1], axis=0)[-2::-1]
    others = np.logaddexp(np.concatenate([none, before]), np.concatenate([after, none]))
    found: np.ndarray = (repeats - 1) * others.var(0)
    return found


def _root(square: float) -> float | None:
    return None if math.isnan(square) else math.sqrt(square)
