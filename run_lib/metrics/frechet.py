"""The Fréchet distance of the Gaussians that two sets of features have: FID, FD, sFID."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from run_lib.metrics.base import Goal, Measured, NoRowsError, Output, SetMetric, View, register_metric
from run_lib.metrics.checked import check_count, checked_moments, checked_rows, different_lengths
from run_lib.metrics.gaussians import Target
from run_lib.metrics.moments import BLOCK, Moments
from sde_lib.words import digits

PARTS = 5
"""Into how many parts a set is cut, at the most, to extrapolate."""
PER_FEATURE = 2
"""Images for each feature in the smallest part: below, the bias does not fall as 1/N."""
TELLING = 0.01
"""The share of a distance from which its bias is worth a warning."""


class OfMoments(SetMetric):
    """The Fréchet distance of an output's Gaussians."""

    needs_rows = False
    goals: ClassVar[Mapping[str, Goal]] = MappingProxyType({"": "least"})

    @property
    @abc.abstractmethod
    def extrapolate(self) -> bool:
        """Whether the distance of infinitely many samples is estimated too."""

    def measure(self, samples: View, reference: View | None, seed: int) -> tuple[Measured, ...]:
        assert reference is not None
        (output,) = self.outputs
        check_count(samples, self.least(0), self.title)
        check_count(reference, self.least(0), self.title)
        theirs = checked_moments(reference, output, self.title)
        try:
            rows = checked_rows(samples, output, self.least(0), self.title)
        except NoRowsError:
            rows = None
        ours = checked_moments(samples, output, self.title)
        if len(ours.mean) != len(theirs.mean):
            raise ValueError(different_lengths(self.title, len(ours.mean), len(theirs.mean)))
        target = Target.of(theirs)
        if rows is None:
            distance = target.distance(ours)
            return (Measured("", distance, None, note=_note(target, ours, distance)),)
        found = target.linearised(ours)
        error = float(found.influence(rows).std(ddof=1) / math.sqrt(len(rows)))
        parts = min(PARTS, len(rows) // (PER_FEATURE * rows.shape[1]))
        if not self.extrapolate or parts < 2:
            return (Measured("", found.distance, error, note=_note(target, ours, found.distance)),)
        limit = extrapolated(target, rows, found.distance, parts, seed)
        return (
            Measured("", found.distance, error, note=_note(target, ours, found.distance, limit)),
            Measured("infinity", limit, error, note=f"extrapolated in 1/N from 1 to {parts} parts"),
        )


@register_metric(name="frechet")
@dataclass(frozen=True)
class Frechet(OfMoments):
    """The Fréchet distance of Gaussians with the mean and covariance of features (Heusel et al. 2017).

    It is FID where the features are Inception's. The standard error is the infinitesimal jackknife's. A finite number
    of samples makes it too large, by about as much as ``infinity``, the limit for many samples (Chong & Forsyth
    2020), is smaller.

    Args:
        extrapolate: whether to estimate that limit, which costs 14 more distances.
    """

    title: ClassVar[str] = "Fréchet distance"

    extrapolate: bool = True


@register_metric(name="sfid")
@dataclass(frozen=True)
class SpatialFrechet(OfMoments):
    """The Fréchet distance in features that keep their place in the image (Nash et al. 2021): sFID with Inception's.

    Args:
        extrapolate: whether to estimate its limit for many samples.
    """

    title: ClassVar[str] = "spatial Fréchet distance"
    outputs: ClassVar[tuple[Output, ...]] = ("spatial",)

    extrapolate: bool = True


def extrapolated(target: Target, rows: np.ndarray, whole: float, parts: int, seed: int) -> float:
    """The limit of a Fréchet distance for infinitely many samples (Chong & Forsyth 2020).

    The set is cut at random into 1, 2, ... parts; the distances of the parts, averaged for each number, are a line in
    1/N, whose intercept is found by least squares. Each sample has the same weight in every average, so that the
    limit has the standard error of the distance itself to first order; random subsets that overlap would add to it.

    Args:
        target: the reference.
        rows: features of the samples (N, D).
        whole: the distance of all of them.
        parts: the greatest number of parts, at least 2.
        seed: of the cuts.
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    means = [whole]
    for number in range(2, parts + 1):
        means.append(
            float(np.mean([target.distance(_moments(rows, p)) for p in np.array_split(order, number)]))
        )
    # 1/N of a part is the number of parts over that of samples.
    return float(np.polynomial.polynomial.polyfit(np.arange(1, parts + 1), means, 1)[0])


def _moments(rows: np.ndarray, chosen: np.ndarray) -> Moments:
    ordered = np.sort(chosen)
    return Moments.streamed(rows[ordered[first : first + BLOCK]] for first in range(0, len(ordered), BLOCK))


def _note(target: Target, ours: Moments, distance: float, limit: float | None = None) -> str:
    """What too few samples do to a distance, which has an extrapolated limit or not."""
    if not ours.count:
        return ""
    told, dimensions = [], len(ours.mean)
    if ours.count <= dimensions:
        told.append(f"{ours.count} samples of {dimensions} features have a singular covariance")
    bias = target.bias(ours.count) if limit is None else distance - limit
    if bias > TELLING * distance:
        if limit is None:
            told.append(
                f"biased: {ours.count} samples of the reference's own Gaussian would have about {digits(bias, 3)}"
            )
        else:
            told.append(f"biased: about {digits(bias, 3)} too large for want of samples")
    return "; ".join(told)
