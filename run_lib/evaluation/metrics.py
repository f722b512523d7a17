"""How near samples are to data, in a feature space that needs no network: the pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error."""

    value: float
    stderr: float


@dataclass(frozen=True)
class Gaussian:
    """Mean and covariance of a set of features."""

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray) -> Gaussian:
        return cls(features.mean(0), np.atleast_2d(np.cov(features, rowvar=False)))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Squared 2-Wasserstein distance of two Gaussians (Dowson & Landau 1982):
    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^{1/2} C_b C_a^{1/2})^{1/2}), in squared units of the features.
    """
    import scipy.linalg

    root = _symmetric_root(a.covariance)
    cross = np.sqrt(np.clip(scipy.linalg.eigvalsh(root @ b.covariance @ root), 0, None)).sum()
    offset = ((a.mean - b.mean) ** 2).sum()
    return float(offset + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross)


def _symmetric_root(matrix: np.ndarray) -> np.ndarray:
    import scipy.linalg

    values, vectors = scipy.linalg.eigh(matrix)
    root: np.ndarray = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root


def bootstrap(
    statistic: Callable[[np.ndarray], float], samples: np.ndarray, seed: int, repeats: int = 20
) -> float:
    """Standard error of a statistic of a set, by resampling the set with replacement."""
    rng = np.random.default_rng(seed)
    values = [statistic(samples[rng.integers(len(samples), size=len(samples))]) for _ in range(repeats)]
    return float(np.std(values, ddof=1))


@dataclass(frozen=True)
class PrecisionRecall:
    """Share of samples near real data, and of real data near samples."""

    precision: Estimate
    recall: Estimate


def precision_recall(
    real: np.ndarray, fake: np.ndarray, neighbours: int = 3, dimensions: int = 20
) -> PrecisionRecall:
    """Improved precision and recall (Kynkaanniemi et al. 2019) in the real data's principal components.

    A point is near a set if it lies within the distance from any of the set's points to that point's
    ``neighbours``-th neighbour in the set.
    """
    from sklearn.decomposition import PCA

    if min(real.shape[1], len(real)) > dimensions:
        projection = PCA(dimensions, random_state=0).fit(real)
        real, fake = projection.transform(real), projection.transform(fake)
    return PrecisionRecall(_covered(fake, real, neighbours), _covered(real, fake, neighbours))


def _covered(points: np.ndarray, support: np.ndarray, neighbours: int) -> Estimate:
    from sklearn.neighbors import NearestNeighbors

    tree = NearestNeighbors(n_neighbors=neighbours + 1).fit(support)
    radii = tree.kneighbors(support)[0][:, -1]
    inside = np.zeros(len(points), dtype=bool)
    for block in np.array_split(np.arange(len(support)), max(1, len(support) // 512)):
        squares = (points**2).sum(1)[:, None] - 2 * points @ support[block].T + (support[block] ** 2).sum(1)
        inside |= (squares <= radii[block] ** 2).any(1)
    return proportion(inside)


def proportion(hits: np.ndarray) -> Estimate:
    """A share with its binomial standard error."""
    p = float(hits.mean())
    return Estimate(p, float(np.sqrt(p * (1 - p) / len(hits))))


def copies(fake: np.ndarray, train: np.ndarray, test: np.ndarray, quantile: float = 0.003) -> Estimate:
    """Share of samples nearer to a training image than all but 0.3 % of real test images are."""
    from sklearn.neighbors import NearestNeighbors

    tree = NearestNeighbors(n_neighbors=1).fit(train)
    threshold = np.quantile(tree.kneighbors(test)[0][:, 0], quantile)
    return proportion(tree.kneighbors(fake)[0][:, 0] <= threshold)


@dataclass(frozen=True)
class Labelled:
    """Features (N, D) and the class of each."""

    features: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Recognised:
    """Share of samples that are taken for their class, of all and by class."""

    overall: Estimate
    by_class: dict[int, Estimate]


def recognised(train: Labelled, fake: Labelled) -> Recognised:
    """Samples as a support vector classifier (radial basis functions), fitted to real data, sees them."""
    from sklearn.svm import SVC

    right = SVC(C=10).fit(train.features, train.labels).predict(fake.features) == fake.labels
    classes = np.unique(fake.labels).tolist()
    return Recognised(proportion(right), {k: proportion(right[fake.labels == k]) for k in classes})
