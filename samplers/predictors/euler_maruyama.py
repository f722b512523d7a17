"""Euler-Maruyama on the reverse SDE, Euler on the probability flow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.prediction.noise_model import Model
from samplers.base import Predictor, Step, register_predictor
from sde_lib.base import SDE, expand
from sde_lib.noise import Noise


@register_predictor(name="euler_maruyama")
@dataclass(frozen=True)
class EulerMaruyama(Predictor[SDE]):
    """x_s = x - (f - g^2 score) dt + g sqrt(dt) z, dt = t - s (Song et al. 2021, eq. 6).

    Weak order 1. Euler's method on the probability flow, x_s = x - (f - g^2 score / 2) dt (eq. 13), has order 1.

    Args:
        probability_flow: whether to solve the probability-flow ODE instead of the reverse SDE.
    """

    probability_flow: bool = False

    @property
    def order(self) -> int | None:
        return 1 if self.probability_flow else None

    def update_fn(self, model: Model[SDE], x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        sde = model.process
        score = model(x, t).score
        c = sde.sde(x, t)
        dt, g2 = expand(t - s, x), expand(c.diffusion**2, x)
        if self.probability_flow:
            mean = torch.addcmul(x, torch.addcmul(c.drift, g2, score, value=-0.5), dt, value=-1)
            return Step(mean, mean)
        mean = torch.addcmul(x, torch.addcmul(c.drift, g2, score, value=-1), dt, value=-1)
        return Step(torch.addcmul(mean, (g2 * dt).sqrt(), noise.normal(x.shape)), mean)
