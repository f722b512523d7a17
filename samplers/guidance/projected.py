"""Adaptive projected guidance."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, final

import torch
from torch import Tensor

from models.prediction.noise_model import Model, Prediction
from samplers.guidance.base import Scale, rows
from samplers.guidance.interval import Bounds
from samplers.guidance.labels import LabelGuidance
from sde_lib.needs import GivenProcess
from sde_lib.settings import Range, checked


@final
class ProjectedGuidance(LabelGuidance[GivenProcess]):
    """x0_y + (w - 1) (d_orthogonal + eta d_parallel), d = x0_y - x0 of predicted data (Sadat et al. 2024, algorithm 1).

    d is first shortened to the norm r, then split into what is parallel to x0_y of the sample, which saturates colours,
    and what is orthogonal to it. eta = 1 and no r is classifier-free guidance. Their momentum, a memory of earlier
    steps, is left out: a guided prediction is a function of the state, so that flows have a likelihood.

    Args:
        model: the model that is guided; it must have been trained with label dropout.
        null_label: the class label that stands for no label.
        scale: the guidance scale w; 1 is the conditional model.
        eta: share of the parallel part that is kept, 0 in the paper.
        radius: r, the largest norm of d in each sample; None: any. 2.5 to 15 in the paper.

    Raises:
        ValueError: a setting out of range; no labels.
    """

    @checked
    def __init__(
        self,
        model: Model[GivenProcess],
        null_label: int,
        scale: Scale = 1.0,
        interval: Bounds | None = None,
        eta: Annotated[float, Range(least=0, most=1)] = 0.0,
        radius: Annotated[float, Range(above=0)] | None = None,
    ) -> None:
        super().__init__(model, null_label, scale, interval)
        self.eta, self.radius = float(eta), radius

    @property
    def unconditional(self) -> bool:
        return self.scale == 0 and self.eta == 1 and self.radius is None

    def mixed(self, told: Prediction, untold: Prediction, inside: Tensor | None) -> Prediction:
        x0 = told.x0
        away = x0 - untold.x0
        if self.radius is not None:
            norm = away.flatten(1).norm(dim=1).clamp(min=torch.finfo(away.dtype).tiny)
            away = away * rows((self.radius / norm).clamp(max=1), away)
        square = x0.flatten(1).square().sum(1).clamp(min=torch.finfo(x0.dtype).tiny)
        parallel = rows((away * x0).flatten(1).sum(1) / square, x0) * x0
        mixed = x0 + (self.scale - 1) * (away + (self.eta - 1) * parallel)
        if inside is not None:
            mixed = torch.where(rows(inside, mixed), mixed, x0)
        return replace(told, output=mixed, kind="x0")
