"""The SDEs of a stochastic interpolant: the marginals of a process with noise of any size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from models.prediction.noise_model import Model
from samplers.base import Predictor, Step, register_predictor
from sde_lib.base import GaussianSDE, coefficients
from sde_lib.noise import Noise
from sde_lib.settings import Range

Diffusion = Literal["constant", "sigma", "sine", "reverse"]


@dataclass(frozen=True)
class InterpolantWeights:
    """x_s = x_t + x0 x_0 + eps e + fresh z; each shaped like the time."""

    x0: Tensor
    eps: Tensor
    fresh: Tensor


@register_predictor(name="interpolant_sde")
@dataclass(frozen=True)
class InterpolantSDE(Predictor[GaussianSDE]):
    """x_s = x - (u - w score / 2) dt + sqrt(w dt) z, dt = t - s, u = alpha' x0 + sigma' eps (Ma et al. 2024, eq. 4-5).

    Whatever w(t) >= 0 is, the marginals are those of the process; the diffusion coefficient is chosen after training.
    Weak order 1. Without noise it is Euler's method on the flow in time, of order 1: what flow matching samples with.

    Args:
        diffusion: w: ``constant`` is 1, ``sigma`` sigma_t, ``sine`` sin^2(pi t / T), which vanishes at both ends, and
            ``reverse`` g^2 of the reverse SDE, with which this is ``euler_maruyama``.
        strength: factor of w; 0 is the flow.
    """

    diffusion: Diffusion = "sigma"
    strength: Annotated[float, Range(least=0)] = 1.0

    @property
    def order(self) -> int | None:
        return None if self.strength else 1

    @property
    def at_pure_noise(self) -> bool:
        return self.diffusion != "reverse"

    def update_fn(self, model: Model[GaussianSDE], x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        w, prediction = coefficients(x, self._weights, model.process, t, s), model(x, t)
        mean = torch.addcmul(torch.addcmul(x, w.x0, prediction.x0), w.eps, prediction.eps)
        if self.strength == 0:
            return Step(mean, mean)
        return Step(torch.addcmul(mean, w.fresh, noise.normal(x.shape)), mean)

    def _weights(self, process: GaussianSDE, t: Tensor, s: Tensor) -> InterpolantWeights:
        rates, sigma, dt = process.path_rates(t), process.marginal(t).sigma, t - s
        w = self.strength * self._w(process, t)
        return InterpolantWeights(-dt * rates.alpha, -dt * (rates.sigma + w / (2 * sigma)), (w * dt).sqrt())

    def _w(self, process: GaussianSDE, t: Tensor) -> Tensor:
        return {
            "constant": lambda: torch.ones_like(t),
            "sigma": lambda: process.marginal(t).sigma,
            "sine": lambda: torch.sin(math.pi * t / process.T).square(),
            "reverse": lambda: process.rates(t).diffusion.square(),
        }[self.diffusion]()
