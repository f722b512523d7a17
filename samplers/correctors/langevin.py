"""Langevin dynamics with a step size from the signal-to-noise ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from models.prediction.noise_model import Model
from samplers.base import Corrector, Step, register_corrector
from sde_lib.base import expand
from sde_lib.noise import Noise
from sde_lib.settings import Range
from sde_lib.timetable import tabulated


@register_corrector(name="langevin")
@dataclass(frozen=True)
class Langevin(Corrector):
    """x + e score + sqrt(2 e) z with e = 2 alpha (snr |z| / |score|)^2 (Song et al. 2021, algorithms 4-5).

    alpha is one training level's alpha_t^2 / alpha_{t-dt}^2, one for VE. In many dimensions the stationary
    variance on a Gaussian is 1 + snr^2 times that of the target (alpha = 1): a larger snr mixes faster and
    overestimates the variance.

    Args:
        snr: signal-to-noise ratio, of the step along the score to the added noise; typically 0.05 to 0.2.
        norm: norms of the score and of the noise are those of each ``sample``, or averages over the ``batch`` as in
            score_sde, where a sample then depends on the others of its batch.
    """

    snr: Annotated[float, Range(above=0, below=1)] = 0.16
    norm: Literal["sample", "batch"] = "sample"

    def update_fn(self, model: Model, x: Tensor, t: Tensor, noise: Noise) -> Step:
        score, z = model(x, t).score, noise.normal(x.shape)
        score_norm, noise_norm = score.flatten(1).norm(dim=1), z.flatten(1).norm(dim=1)
        if self.norm == "batch":
            score_norm, noise_norm = score_norm.mean().expand_as(t), noise_norm.mean().expand_as(t)
        ratio = tabulated(model.process.level_ratio, t)
        size = 2 * ratio * (self.snr * noise_norm / score_norm) ** 2
        mean = torch.addcmul(x, expand(size, x), score)
        return Step(torch.addcmul(mean, expand((2 * size).sqrt(), x), z), mean)
