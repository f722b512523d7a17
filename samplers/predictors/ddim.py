"""DDIM, from noise to data and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from samplers.base import GaussianModel, Predictor, Step, register_predictor
from sde_lib.base import GaussianProcess, expand
from sde_lib.noise import Noise
from sde_lib.settings import Range


@register_predictor(name="ddim")
@dataclass(frozen=True)
class DDIM(Predictor[GaussianProcess]):
    """x_s = alpha_s x0 + sqrt(sigma_s^2 - v^2) eps + v z, v = eta std[x_s | x_t, x_0] (Song et al. 2021, eq. 12).

    Deterministic for eta = 0, of order 1 in log(sigma/alpha); ancestral sampling for eta = 1.

    Args:
        eta: how much noise a step adds, as a share of the posterior's: 0 is deterministic, 1 ancestral sampling.
    """

    eta: Annotated[float, Range(least=0, most=1, words="is a share of fresh noise in [0, 1]")] = 0.0

    @property
    def order(self) -> int | None:
        return None if self.eta else 1

    def update_fn(self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        process = model.process
        now, then, step = process.marginal(t), process.marginal(s), process.transition(t, s)
        prediction = model(x, t)
        fresh = self.eta * step.std * then.sigma / now.sigma
        kept = torch.sqrt((then.sigma**2 - fresh**2).clamp(min=0))
        mean = expand(then.alpha, x) * prediction.x0 + expand(kept, x) * prediction.eps
        if self.eta == 0:
            return Step(mean, mean)
        return Step(mean + expand(fresh, x) * noise.normal(x.shape), mean)


@register_predictor(name="reverse_ddim")
@dataclass(frozen=True)
class ReverseDDIM(Predictor[GaussianProcess]):
    """DDIM run from data to noise: x_s = alpha_s x0 + sigma_s eps, s noisier than t (Dhariwal & Nichol 2021).

    Order 1 in log(sigma/alpha): ``ddim`` inverts it as the steps become small.
    """

    order = 1
    encodes: ClassVar[bool] = True

    def update_fn(self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        process = model.process
        then, prediction = process.marginal(s), model(x, t)
        x = expand(then.alpha, x) * prediction.x0 + expand(then.sigma, x) * prediction.eps
        return Step(x, x)
