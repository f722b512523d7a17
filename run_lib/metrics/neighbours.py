"""Whether samples copy: their nearest reference images, against those of real images among themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from run_lib.metrics.base import Measured, SetMetric, View, register_metric
from run_lib.metrics.checked import checked_pair
from run_lib.metrics.nearest import nearest, nearest_within
from run_lib.statistics import Estimate, mean, proportion
from sde_lib.settings import Range

QUANTILE = 0.003
"""The share of real images that would count as copies."""


def copies(fake: np.ndarray, train: np.ndarray, test: np.ndarray, quantile: float = QUANTILE) -> Estimate:
    """The share of samples that copy a training image: those nearer to one than nearly all test images are.

    Args:
        fake: features of samples, (N, D).
        train: features of the training images.
        test: features of the test images.
        quantile: the share of test images that would count as copies by the same threshold.
    """
    threshold = np.quantile(nearest(test, train).distances[:, 0], quantile)
    return proportion(nearest(fake, train).distances[:, 0] <= threshold)


@dataclass(frozen=True)
class Pairs:
    """Samples and the reference images that are nearest to them, the nearest pair first.

    Attributes:
        samples: indices (P,).
        reference: indices (P,).
        distances: (P,), in units of the features.
    """

    samples: np.ndarray
    reference: np.ndarray
    distances: np.ndarray


def nearest_pairs(samples: np.ndarray, reference: np.ndarray, count: int) -> Pairs:
    """The samples that are nearest to a reference image, each with that image.

    Args:
        samples: features (N, D).
        reference: features (M, D).
        count: of the pairs; at most N are there.
    """
    found = nearest(samples, reference)
    order = found.distances[:, 0].argsort(kind="stable")[:count]
    return Pairs(order, found.indices[order, 0], found.distances[order, 0])


@register_metric(name="neighbours")
@dataclass(frozen=True)
class Neighbours(SetMetric):
    """Distances of samples to their nearest reference image, and of reference images to their nearest other one.

    Of a model that copies, ``nearer`` is above 1/2: the probability that a sample is nearer to the reference than an
    image of the reference to the others. ``copies`` is the share of samples that are nearer than ``quantile`` of
    the reference's images are to each other.

    Args:
        quantile: the share of real images that would count as copies.
    """

    title: ClassVar[str] = "nearest neighbours"
    shows_nearest: ClassVar[bool] = True

    quantile: Annotated[float, Range(above=0, below=1)] = QUANTILE

    def measure(self, samples: View, reference: View | None, seed: int) -> tuple[Measured, ...]:
        fake, real = checked_pair(samples, reference, "features", self.least(0), self.title)
        ours = nearest(fake, real).distances[:, 0]
        theirs = np.sort(nearest_within(real).distances[:, 0])
        farther = len(real) - np.searchsorted(theirs, ours, side="right")
        ties = np.searchsorted(theirs, ours, side="right") - np.searchsorted(theirs, ours, side="left")
        copied = proportion(ours <= np.quantile(theirs, self.quantile))
        return (
            Measured("distance", *mean(ours), note="mean, to the nearest reference image"),
            Measured("distance of real images", *mean(theirs), note="reference: to the nearest other one"),
            Measured("nearer", *mean((farther + ties / 2) / len(real)), note="1/2: as near as real images"),
            Measured(
                "copies", *copied, note=f"nearer than {self.quantile:.3g} of real images are to each other"
            ),
        )
