"""Distances of mean embeddings: KID with its polynomial kernel, CMMD with a Gaussian one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, ClassVar

import numpy as np
from torch import Tensor

from run_lib.metrics.base import Goal, Measured, SetMetric, View, register_metric
from run_lib.metrics.checked import checked_pair
from run_lib.metrics.discrepancy import discrepancy
from sde_lib.settings import Range
from sde_lib.words import digits

LEAST = 4
"""Samples, to tell the variance of a mean over pairs."""


def polynomial(a: Tensor, b: Tensor) -> Tensor:
    """(x.y / D + 1)^3, for features of D dimensions (Bińkowski et al. 2018, section 4)."""
    return (a @ b.T).div_(a.shape[1]).add_(1).pow_(3)


@register_metric(name="kernel")
@dataclass(frozen=True)
class KernelDistance(SetMetric):
    """The squared maximum mean discrepancy by a cubic kernel (Bińkowski et al. 2018): KID with Inception's features.

    It is unbiased, so it may be negative. Subsets of both sets are drawn at random and their values averaged, as
    papers do; the standard error counts that, too. Taken whole, the sets give the same expectation with less noise.

    Args:
        subsets: pairs of subsets that are averaged.
        subset_size: images in each; 0: the whole sets, once.

    Raises:
        ValueError: subsets of fewer than 4 images.
    """

    title: ClassVar[str] = "kernel distance"
    goals: ClassVar[Mapping[str, Goal]] = MappingProxyType({"": "least"})

    subsets: Annotated[int, Range(least=1, most=10**6)] = 100
    subset_size: Annotated[int, Range(least=0, most=10**6)] = 1000

    def __post_init__(self) -> None:
        if 0 < self.subset_size < LEAST:
            raise ValueError(
                f"kernel's subset_size must be 0 (the whole sets) or {LEAST} or more, got {self.subset_size}."
            )

    def least(self, dimensions: int) -> int:
        return self.subset_size or LEAST

    def measure(self, samples: View, reference: View | None, seed: int) -> tuple[Measured, ...]:
        ours, theirs = checked_pair(samples, reference, "features", self.least(0), self.title)
        if not self.subset_size:
            found = discrepancy(ours, theirs, polynomial)
            return (Measured("", found.unbiased, found.stderr(len(ours))),)
        rng, drawn = np.random.default_rng(seed), 1 - self.subset_size / len(theirs)
        each = [
            discrepancy(self._subset(ours, rng), self._subset(theirs, rng), polynomial, drawn)
            for _ in range(self.subsets)
        ]
        values = np.array([one.unbiased for one in each])
        linear, pairwise = (np.mean([getattr(one, name) for one in each]) for name in ("linear", "pairwise"))
        variance = 4 * max(linear, 0) / len(ours) + 2 * max(pairwise, 0) / (len(ours) * (len(ours) - 1))
        if self.subsets > 1:
            variance += values.var(ddof=1) / self.subsets
        return (Measured("", float(values.mean()), math.sqrt(variance), note=self._note()),)

    def _subset(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rows[np.sort(rng.choice(len(rows), self.subset_size, replace=False))]

    def _note(self) -> str:
        return f"mean of {self.subsets} subsets of {self.subset_size}"


@register_metric(name="mmd")
@dataclass(frozen=True)
class GaussianDiscrepancy(SetMetric):
    """The squared maximum mean discrepancy by a Gaussian kernel, times 1000: CMMD with CLIP's features.

    Jayasumana et al. (2024) take the biased estimate, which is never negative: exp(-|x - y|^2 / (2 bandwidth^2))
    averaged over all pairs of either set, less twice that over pairs of both.

    Args:
        bandwidth: of the kernel, in units of the features.
        scale: what the value is multiplied by.
    """

    title: ClassVar[str] = "MMD"
    goals: ClassVar[Mapping[str, Goal]] = MappingProxyType({"": "least"})

    bandwidth: Annotated[float, Range(above=0)] = 10.0
    scale: Annotated[float, Range(above=0)] = 1000.0

    def least(self, dimensions: int) -> int:
        return LEAST

    def gaussian(self, a: Tensor, b: Tensor) -> Tensor:
        squares = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * (a @ b.T)
        return squares.clamp_(min=0).mul_(-0.5 / self.bandwidth**2).exp_()

    def measure(self, samples: View, reference: View | None, seed: int) -> tuple[Measured, ...]:
        ours, theirs = checked_pair(samples, reference, "features", LEAST, self.title)
        found = discrepancy(ours, theirs, self.gaussian)
        bias = found.biased - found.unbiased
        note = (
            f"biased: {digits(self.scale * bias, 3)} of it is for want of images"
            if bias > 0.01 * found.biased
            else ""
        )
        return (Measured("", self.scale * found.biased, self.scale * found.stderr(len(ours)), note=note),)
