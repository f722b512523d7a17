"""Improved precision and recall: the share of samples near real data, and of real data near samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, ClassVar

import numpy as np

from run_lib.metrics.balls import balls_around, deepest
from run_lib.metrics.base import Goal, Measured, SetMetric, View, register_metric
from run_lib.metrics.checked import checked_pair
from run_lib.metrics.halves import LISTED, listed_neighbours, radii_within, share
from run_lib.metrics.nearest import nearest_within
from run_lib.statistics import Estimate, proportion
from sde_lib.settings import Range


@dataclass(frozen=True)
class Manifold:
    """A set of points as the support of a distribution: balls around each that reach to its k-th neighbour.

    Attributes:
        points: (N, D).
        radii: (N,).
    """

    points: np.ndarray
    radii: np.ndarray

    @classmethod
    def of(cls, points: np.ndarray, neighbours: int) -> Manifold:
        return cls(points, nearest_within(points, neighbours).distances[:, -1])

    def covers(self, points: np.ndarray) -> np.ndarray:
        """Which points (N, D) lie in a ball."""
        return balls_around(points, self.points, self.radii) > 0


@dataclass(frozen=True)
class PrecisionRecall:
    """Improved precision and recall: the share of samples near real data, and of real data near samples."""

    precision: Estimate
    recall: Estimate


def precision_recall(
    real: np.ndarray, fake: np.ndarray, neighbours: int = 3, dimensions: int = 20
) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019, eq. 1 and 2) in principal components of the real data.

    Each point of a set is the centre of a ball that reaches to its k-th nearest neighbour in the set. Precision is
    the share of samples in the balls of the real data, recall the share of real data in those of the samples. Recall's
    error is over real data, for the samples as they are.

    Args:
        real: features of real data, (N, D).
        fake: features of samples, (M, D).
        neighbours: k.
        dimensions: number of principal components; features of fewer dimensions are taken as they are.
    """
    from sklearn.decomposition import PCA

    if min(real.shape[1], len(real)) > dimensions:
        projection = PCA(dimensions, random_state=0).fit(real)
        real, fake = projection.transform(real), projection.transform(fake)
    covered = Manifold.of(real, neighbours).covers(fake), Manifold.of(fake, neighbours).covers(real)
    return PrecisionRecall(proportion(covered[0]), proportion(covered[1]))


@register_metric(name="precision_recall")
@dataclass(frozen=True)
class ImprovedPrecisionRecall(SetMetric):
    """The share of samples near reference images, and of reference images near samples (Kynkäänniemi et al. 2019).

    Near is within the distance of an image's k-th nearest neighbour in its own set.

    Args:
        neighbours: k.
    """

    title: ClassVar[str] = "precision and recall"
    goals: ClassVar[Mapping[str, Goal]] = MappingProxyType({"precision": "greatest", "recall": "greatest"})

    neighbours: Annotated[int, Range(least=1, most=1000)] = 3

    def least(self, dimensions: int) -> int:
        return self.neighbours + 1

    def measure(self, samples: View, reference: View | None, seed: int) -> tuple[Measured, ...]:
        k = self.neighbours
        fake, real = checked_pair(samples, reference, "features", self.least(0), self.title)
        precision = proportion(Manifold.of(real, k).covers(fake))
        neighbours = nearest_within(fake, min(listed_neighbours(k), len(fake) - 1))
        balls = deepest(real, fake, neighbours.distances[:, k - 1], LISTED)

        def recall(ours: np.ndarray, theirs: np.ndarray) -> float:
            reach = radii_within(neighbours, ours, k)[balls.indices]
            return float(((balls.distances <= reach) & ours[balls.indices]).any(1)[theirs].mean())

        reached = share(len(fake), len(real), k, seed, recall)
        note = f"k={k}"
        return Measured("precision", *precision, note=note), Measured("recall", *reached, note=note)
