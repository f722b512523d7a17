"""Density and coverage: how many real neighbourhoods samples lie in, and how many they reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, ClassVar

import numpy as np

from run_lib.metrics.balls import balls_around
from run_lib.metrics.base import Goal, Measured, SetMetric, View, register_metric
from run_lib.metrics.checked import checked_pair
from run_lib.metrics.halves import LISTED, listed_neighbours, radii_within, share
from run_lib.metrics.nearest import nearest, nearest_within
from run_lib.statistics import mean
from sde_lib.settings import Range


@register_metric(name="density_coverage")
@dataclass(frozen=True)
class DensityCoverage(SetMetric):
    """Real neighbourhoods that a sample lies in over k, and the share of those that have a sample (Naeem et al. 2020).

    A neighbourhood is the open ball around a reference image to its k-th nearest in the reference. Coverage grows
    with the number of samples: compare it at the same numbers only.

    Args:
        neighbours: k.
    """

    title: ClassVar[str] = "density and coverage"
    goals: ClassVar[Mapping[str, Goal]] = MappingProxyType({"density": "greatest", "coverage": "greatest"})

    neighbours: Annotated[int, Range(least=1, most=1000)] = 5

    def least(self, dimensions: int) -> int:
        return self.neighbours + 1

    def measure(self, samples: View, reference: View | None, seed: int) -> tuple[Measured, ...]:
        k = self.neighbours
        fake, real = checked_pair(samples, reference, "features", self.least(0), self.title)
        neighbours = nearest_within(real, min(listed_neighbours(k), len(real) - 1))
        density = mean(balls_around(fake, real, neighbours.distances[:, k - 1], closed=False) / k)
        found = nearest(real, fake, LISTED)

        def coverage(ours: np.ndarray, theirs: np.ndarray) -> float:
            radii = radii_within(neighbours, theirs, k)
            inside = (found.distances < radii[:, None]) & ours[found.indices]
            return float(inside.any(1)[theirs].mean())

        reached = share(len(fake), len(real), k, seed, coverage)
        note = f"k={k}"
        return Measured("density", *density, note=note), Measured("coverage", *reached, note=note)
