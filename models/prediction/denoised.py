"""A model whose predicted data are transformed: clipped to their range, thresholded, or as one likes.

It wraps the model, so every predictor, corrector and bound sees the transformed prediction in whichever view
it reads. Learned variances and a gradient on the reverse step's mean pass through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from models.prediction.noise_model import Model, Prediction
from sde_lib.base import expand
from sde_lib.registry import Registry

Transform: TypeAlias = Callable[[Tensor], Tensor]
"""Predicted data (B, ...) -> predicted data."""

register_denoised_fn: Registry[Transform] = Registry("transform of predicted data")
"""Transforms of one's own, by the name that sampling.denoised_fn gives: functions of the predicted data ``x0``,
(B, ...); further parameters are settings."""


class Denoised(Model):
    """A model whose predicted data x0 are replaced by ``transform(x0)``; eps, score and v follow from it.

    Args:
        model: predictions of a process with a Gaussian marginal.
        transform: several are chained by wrapping again; the outermost acts last.
    """

    def __init__(self, model: Model, transform: Transform) -> None:
        super().__init__()
        self.model, self.transform = model, transform
        self.process = model.process

    @property
    def nfe(self) -> int:
        return self.model.nfe

    @property
    def at_pure_noise(self) -> bool:
        return self.model.at_pure_noise

    def forward(self, x: Tensor, t: Tensor, **cond: Any) -> Prediction:
        p: Prediction = self.model(x, t, **cond)
        return replace(p, output=self.transform(p.x0), kind="x0")


@dataclass(frozen=True)
class Clip:
    """Clip predicted data to the range of the data (``clip_denoised`` of Ho et al.'s and ADM's code).

    Args:
        low: the smallest value.
        high: the largest value.
    """

    low: float = -1.0
    high: float = 1.0

    def __call__(self, x0: Tensor) -> Tensor:
        return x0.clamp(self.low, self.high)


@dataclass(frozen=True)
class DynamicThreshold:
    """Dynamic thresholding: clip each sample at a quantile of its own, and scale it back (Saharia et al. 2022,
    Imagen, section 2.3).

    With c the middle and h the half-width of the data's range, and r the quantile of |x0 - c| / h, at least 1
    (and at most ``limit``): c + (x0 - c) clipped to [-r h, r h], divided by r.

    Args:
        quantile: share of a sample's values left unclipped, in (0, 1].
        limit: the largest r.
        low: the smallest value of the data.
        high: the largest.
    """

    quantile: float = 0.995
    limit: float = float("inf")
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.quantile <= 1 or self.limit < 1:
            raise ValueError(
                f"dynamic thresholding takes a quantile in (0, 1] and a limit of at least 1; got "
                f"{self.quantile} and {self.limit}."
            )

    def __call__(self, x0: Tensor) -> Tensor:
        centre, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        scaled = (x0 - centre) / half
        reach = torch.quantile(scaled.flatten(1).abs().float(), self.quantile, dim=1).clamp(1, self.limit)
        r = expand(reach, x0)
        return centre + half * scaled.clamp(-r, r) / r
