"""Which images a likelihood is estimated from, in which order, and the stream of each draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from run_lib.statistics import mean

MINIMUM = 32
"""Images before an estimate may stop early: fewer tell too little of their own spread."""


@dataclass(frozen=True)
class Draws:
    """Row k of a task is repeat k % repeats of image order[k // repeats].

    Image i's repeat r has stream i + 2^32 r, so its numbers depend on nothing but the seed, i and r.

    Args:
        order: indices of images in their split.
        repeats: draws of dequantisation noise and probes of each.
    """

    order: np.ndarray
    repeats: int

    @classmethod
    def of(cls, images: int, repeats: int, shuffle_seed: int | None = None) -> Draws:
        """The first ``images``, in a seeded random order if a seed is given."""
        order = np.arange(images)
        return cls(
            order if shuffle_seed is None else np.random.default_rng(shuffle_seed).permutation(order), repeats
        )

    def __len__(self) -> int:
        return len(self.order) * self.repeats

    def images(self, rows: range) -> Tensor:
        return torch.from_numpy(self.order[np.asarray(rows) // self.repeats])

    def streams(self, rows: range) -> Tensor:
        return self.images(rows) + (torch.as_tensor(list(rows)) % self.repeats << 32)

    def batch_size(self, asked: int) -> int:
        """Rows of a batch: whole images, so that an estimate can stop after any of them."""
        return max(asked // self.repeats, 1) * self.repeats

    def by_image(self, values: np.ndarray) -> np.ndarray:
        """Rows (K, ...) as (repeats, images, ...), of as many images as there are rows for."""
        return values.reshape(-1, self.repeats, *values.shape[1:]).swapaxes(0, 1)


def precise_enough(per_image: np.ndarray, target: float) -> bool:
    """Whether the mean's standard error has reached ``target``, in the same unit; NaN values do not count.

    A mean that stops so is not exactly unbiased: it stops sooner where the images seen happen to be alike. With
    ``MINIMUM`` images or more that is far less than the standard error itself.
    """
    good = per_image[np.isfinite(per_image)]
    return len(good) >= MINIMUM and mean(good).stderr <= target
