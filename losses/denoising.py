"""Denoising score matching: every process, every parameterisation, one formula."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from losses.times import TimeSampler
from losses.weightings import EpsWeighting, Weighting
from models.noise_model import Model
from sde_lib.base import expand
from sde_lib.noise import Noise


@dataclass(frozen=True)
class Losses:
    """The loss of each sample and the time at which it was taken, both (B,)."""

    values: Tensor
    t: Tensor


@dataclass(frozen=True)
class DenoisingLoss:
    """weight(t) |std score(x_t, t) + eps|^2 with x_t = mean + std eps (Song et al. 2021, eq. 7).

    On a chain this is the DDPM loss (Ho et al. 2020, eq. 14) or the SMLD loss (Song & Ermon 2019, eq. 5-6):
    for a network that outputs eps, std score is -eps; for one that outputs x0 or v, a weighting turns the
    error in eps into the error of that output.

    Args:
        times: which times are drawn.
        weighting: what an error is worth at each time.
        reduce_mean: average over a sample's elements; else half their sum (score_sde's two conventions).
    """

    times: TimeSampler
    weighting: Weighting = field(default_factory=EpsWeighting)
    reduce_mean: bool = True

    def __call__(self, model: Model, x0: Tensor, noise: Noise, **cond: Any) -> Losses:
        """The loss of each sample.

        Args:
            model: predictions of a process.
            x0: data, (B, ...).
            noise: the samples' streams.
            cond: the network's conditioning.
        """
        process = model.process
        t = self.times.sample(process, noise)
        noisy = process.perturb(x0, t, noise)
        residual = noisy.eps + expand(noisy.std, x0) * model(noisy.x, t, **cond).score
        squares = residual.square().flatten(1)
        total = squares.mean(1) if self.reduce_mean else 0.5 * squares.sum(1)
        weight = self.weighting.weight(process, noisy.x, t, noisy.std)
        return Losses(total * weight.to(total.dtype), t)
