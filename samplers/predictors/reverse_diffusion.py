"""The reverse of the process's own discretisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.prediction.noise_model import Model
from samplers.base import Predictor, Step, register_predictor
from sde_lib.base import expand
from sde_lib.noise import Noise


@register_predictor(name="reverse_diffusion")
@dataclass(frozen=True)
class ReverseDiffusion(Predictor):
    """x_s = x - f + G^2 score + G z, where x_t = x_s + f + G z discretises the forward process
    (Song et al. 2021, eq. 46).

    Weak order 1. Of the probability flow, x_s = x - f + G^2 score / 2, of order 1.

    Args:
        probability_flow: whether to solve the probability-flow ODE instead of the reverse SDE.
    """

    at_pure_noise = True
    probability_flow: bool = False

    @property
    def order(self) -> int | None:
        return 1 if self.probability_flow else None

    def update_fn(self, model: Model, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        score = model(x, t).score
        forward = model.process.discretize(x, t, s)
        g = expand(forward.diffusion, x)
        if self.probability_flow:
            mean = torch.addcmul(x - forward.drift, g**2, score, value=0.5)
            return Step(mean, mean)
        mean = torch.addcmul(x - forward.drift, g**2, score)
        return Step(torch.addcmul(mean, g, noise.normal(x.shape)), mean)
