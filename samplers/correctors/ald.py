"""Annealed Langevin dynamics with a step size from the noise level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from samplers.base import Corrector, GaussianModel, Step, register_corrector
from sde_lib.base import GaussianProcess, coefficients
from sde_lib.noise import Noise
from sde_lib.settings import Range


@dataclass(frozen=True)
class LangevinStep:
    """x + size score + noise z; both shaped like the time."""

    size: Tensor
    noise: Tensor


@register_corrector(name="ald")
@dataclass(frozen=True)
class AnnealedLangevin(Corrector[GaussianProcess]):
    """x + e score + sqrt(2 e) z with e = 2 alpha (snr sigma_t)^2 (Song & Ermon 2019, algorithm 1).

    alpha as for ``langevin``. On N(0, c^2 I) the stationary variance is c^2 / (1 - e / (2 c^2)).

    Args:
        snr: signal-to-noise ratio, the step in units of the noise level; typically 0.05 to 0.2. From 1 on the iteration
            would diverge on data of small variance.
    """

    snr: Annotated[float, Range(above=0, below=1)] = 0.16

    def update_fn(self, model: GaussianModel, x: Tensor, t: Tensor, noise: Noise) -> Step:
        step = coefficients(x, self._step, model.process, t)
        mean = torch.addcmul(x, step.size, model(x, t).score)
        return Step(torch.addcmul(mean, step.noise, noise.normal(x.shape)), mean)

    def _step(self, process: GaussianProcess, t: Tensor) -> LangevinStep:
        size = 2 * process.level_ratio(t) * (self.snr * process.marginal(t).sigma) ** 2
        return LangevinStep(size, (2 * size).sqrt())
