"""A metric and extractors that are known through and through."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from run_lib.data.rows import InMemory
from run_lib.extractors.base import Extractor
from run_lib.fingerprint import of_rows
from run_lib.metrics.base import Measured, Output, SetMetric, View
from run_lib.scoring.asked import Asked
from run_lib.scoring.features import Images
from run_lib.scoring.measuring import Measure


@dataclass(frozen=True)
class Pixels(Extractor):
    """Levels as they are; with logits, which are the first three, on request."""

    weights: str = "none"
    published: bool = True  # type: ignore[misc]
    logits: bool = False
    title: ClassVar[str] = "Pixels"

    @property
    def dimensions(self) -> dict[Output, int]:
        return {"features": 12, "logits": 3} if self.logits else {"features": 12}

    @property
    def protocol(self) -> dict[str, str]:
        return {"network": "none", "weights": self.weights}

    def __call__(self, images: Tensor, outputs: Collection[Output]) -> dict[Output, np.ndarray]:
        rows = images.flatten(1).float().numpy()
        found: dict[Output, np.ndarray] = {"features": rows, "logits": rows[:, :3]}
        return {output: found[output] for output in outputs}


@dataclass(frozen=True)
class MeanDistance(SetMetric):
    """The distance of means, times a factor."""

    title: ClassVar[str] = "distance of means"
    needs_rows: ClassVar[bool] = False
    factor: float = 1.0

    def measure(self, samples: View, reference: View | None, seed: int) -> tuple[Measured, ...]:
        assert reference is not None
        a, b = samples.moments("features"), reference.moments("features")
        return (Measured("", self.factor * float(np.linalg.norm(a.mean - b.mean)), 0.5, "levels"),)


@dataclass(frozen=True)
class Largest(SetMetric):
    """The largest logit, of which there is no reference."""

    title: ClassVar[str] = "largest logit"
    outputs: ClassVar[tuple[Output, ...]] = ("logits",)
    needs_reference: ClassVar[bool] = False

    def measure(self, samples: View, reference: View | None, seed: int) -> tuple[Measured, ...]:
        return (Measured("largest", float(samples.rows("logits").max()), None),)


@dataclass(frozen=True)
class Newer(MeanDistance):
    """The same metric, mended."""

    version: ClassVar[int] = 2


@dataclass(frozen=True)
class OfRows(MeanDistance):
    """One that needs every image of the reference."""

    needs_rows: ClassVar[bool] = True

    def least(self, dimensions: int) -> int:
        return dimensions + 1


def measure(metric: SetMetric, named: str = "") -> Measure:
    return Measure(Asked(metric.title.replace(" ", "_"), "toy", named), metric)


def images(count: int, seed: int, *, top: int = 256, classes: int = 3) -> Images:
    drawn = torch.randint(0, top, (count, 3, 2, 2), generator=torch.Generator().manual_seed(seed))
    rows = InMemory(drawn.to(torch.uint8))
    return Images(f"noise {seed}", rows, of_rows(rows), np.arange(count) % classes)
