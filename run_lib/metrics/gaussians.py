"""Fréchet distances of Gaussians, and what one sample adds to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from run_lib.metrics.moments import BLOCK, Moments


def frechet_distance(a: Moments, b: Moments) -> float:
    """The Fréchet distance of two Gaussians, their squared 2-Wasserstein distance (Dowson & Landau 1982):

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^{1/2} C_b C_a^{1/2})^{1/2}), in squared units of the features. Singular
    covariances are allowed.
    """
    return Target.of(a).distance(b)


@dataclass(frozen=True)
class Target:
    """A Gaussian from which others are measured.

    Attributes:
        moments: its mean and covariance.
        root: the symmetric square root of the covariance (D, D).
        variances: the covariance's eigenvalues (D,), none negative.
    """

    moments: Moments
    root: np.ndarray
    variances: np.ndarray

    @classmethod
    def of(cls, moments: Moments) -> Target:
        import scipy.linalg

        values, vectors = scipy.linalg.eigh(moments.covariance)
        values = np.clip(values, 0, None)
        return cls(moments, (vectors * np.sqrt(values)) @ vectors.T, values)

    def distance(self, other: Moments) -> float:
        """The Fréchet distance of another Gaussian from it."""
        import scipy.linalg

        values = scipy.linalg.eigvalsh(self.root @ other.covariance @ self.root)
        return self._distance(other, np.sqrt(np.clip(values, 0, None)).sum())

    def _distance(self, other: Moments, cross: float) -> float:
        offset = ((self.moments.mean - other.mean) ** 2).sum()
        traces = np.trace(self.moments.covariance) + np.trace(other.covariance)
        return float(offset + traces - 2 * cross)

    def linearised(self, other: Moments) -> Linearised:
        """The distance of a set with these moments, and how it changes with the weight of each member.

        With T the optimal map from N(m, C) to the target, the derivative for a member x is 2 (m - m_t).(x - m)
        + (x - m)^T (I - T) (x - m), less its mean. T = R (R C R)^{-1/2} R, with R the target's root. Of singular
        covariances the pseudoinverse serves: the members lie where C has variance.
        """
        import scipy.linalg

        values, vectors = scipy.linalg.eigh(self.root @ other.covariance @ self.root)
        values = np.clip(values, 0, None)
        distance = self._distance(other, np.sqrt(values).sum())
        seen = values > values.max(initial=0) * len(values) * np.finfo(np.float64).eps
        factor = self.root @ (vectors[:, seen] * values[seen] ** -0.25)
        return Linearised(distance, other.mean, 2 * (other.mean - self.moments.mean), factor)

    def bias(self, count: int) -> float:
        """What the distance of so many samples of a Gaussian with the target's own covariance exceeds the truth by.

        To leading order (tr C + 1/2 sum_ij l_i l_j (1 + delta_ij) / (l_i + l_j)) / N, with l the eigenvalues of C:
        the variance of the mean, and the Bures metric (Bhatia, Jain & Lim 2019) of the covariance's errors.
        """
        own = self.variances[self.variances > 0]
        harmonic = sum((own * one / (own + one)).sum() for one in own)
        return float((own.sum() + 0.5 * (harmonic + 0.5 * own.sum())) / count)


@dataclass(frozen=True)
class Linearised:
    """A Fréchet distance to first order in the weights of a set's members.

    Attributes:
        distance: of the set.
        mean: of the set (D,).
        slope: twice the difference of means (D,).
        factor: (D, r), with factor factor^T the optimal map.
    """

    distance: float
    mean: np.ndarray
    slope: np.ndarray
    factor: np.ndarray

    def influence(self, rows: np.ndarray) -> np.ndarray:
        """The derivative for each member (N,), up to a constant; of rows (N, D), which may stay on disk."""
        return np.concatenate(list(self._blocks(rows)))

    def _blocks(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        for first in range(0, len(rows), BLOCK):
            centred = np.asarray(rows[first : first + BLOCK], dtype=np.float64) - self.mean
            yield centred @ self.slope + (centred**2).sum(1) - ((centred @ self.factor) ** 2).sum(1)
