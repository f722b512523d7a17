"""Whether samples are of the classes that they were asked for, by a classifier of real data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from run_lib.statistics import Estimate, proportion


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
