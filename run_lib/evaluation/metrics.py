"""Distances between samples and data in a space of features, by default the pixels: no network is needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from run_lib.statistics import Estimate, proportion


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian distribution of features (D,): its mean and covariance."""

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray) -> Gaussian:
        return cls(features.mean(0), np.atleast_2d(np.cov(features, rowvar=False)))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """The Fréchet distance of two Gaussians, their squared 2-Wasserstein distance (Dowson & Landau 1982):

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^{1/2} C_b C_a^{1/2})^{1/2}), in squared units of the features. Singular
    covariances are allowed.
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
    the share of samples in the balls of the real data, recall the share of real data in those of the samples.

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


def copies(fake: np.ndarray, train: np.ndarray, test: np.ndarray, quantile: float = 0.003) -> Estimate:
    """The share of samples that copy a training image: those nearer to one than nearly all test images are.

    Args:
        fake: features of samples, (N, D).
        train: features of the training images.
        test: features of the test images.
        quantile: the share of test images that would count as copies by the same threshold.
    """
    from sklearn.neighbors import NearestNeighbors

    tree = NearestNeighbors(n_neighbors=1).fit(train)
    threshold = np.quantile(tree.kneighbors(test)[0][:, 0], quantile)
    return proportion(tree.kneighbors(fake)[0][:, 0] <= threshold)


@dataclass(frozen=True)
class Labelled:
    """Features (N, D), and labels (N,) of their classes."""

    features: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Recognised:
    """The accuracy of a classifier on samples, with the class that was asked for as truth: over all, and by class."""

    overall: Estimate
    by_class: dict[int, Estimate]


def recognised(train: Labelled, fake: Labelled) -> Recognised:
    """The accuracy on samples of a support vector classifier with radial basis functions, fitted to real data."""
    from sklearn.svm import SVC

    right = SVC(C=10).fit(train.features, train.labels).predict(fake.features) == fake.labels
    classes = np.unique(fake.labels).tolist()
    return Recognised(proportion(right), {k: proportion(right[fake.labels == k]) for k in classes})
