"""DDIM, from noise to data and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from samplers.base import GaussianModel, Predictor, Step, register_predictor
from sde_lib.base import GaussianProcess, coefficients
from sde_lib.noise import Noise
from sde_lib.settings import Range


@dataclass(frozen=True)
class DDIMWeights:
    """x_s = x0 x_0 + eps e + fresh z; each shaped like the time."""

    x0: Tensor
    eps: Tensor
    fresh: Tensor


@register_predictor(name="ddim")
@dataclass(frozen=True)
class DDIM(Predictor[GaussianProcess]):
    """x_s = alpha_s x0 + sqrt(sigma_s^2 - v^2) eps + v z, v = eta std[x_s | x_t, x_0] (Song et al. 2021, eq. 12).

    Deterministic for eta = 0, of order 1 in log(sigma/alpha); ancestral sampling for eta = 1.

    Args:
        eta: how much noise a step adds, as a share of the posterior's: 0 is deterministic, 1 ancestral sampling.
    """

    at_pure_noise = True
    eta: Annotated[float, Range(least=0, most=1, words="is a share of fresh noise in [0, 1]")] = 0.0

    @property
    def order(self) -> int | None:
        return None if self.eta else 1

    def update_fn(self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        w, prediction = coefficients(x, self._weights, model.process, t, s), model(x, t)
        noisy = prediction.eps if prediction.renoise is None else prediction.renoise
        mean = torch.addcmul(w.x0 * prediction.x0, w.eps, noisy)
        if self.eta == 0:
            return Step(mean, mean)
        return Step(torch.addcmul(mean, w.fresh, noise.normal(x.shape)), mean)

    def _weights(self, process: GaussianProcess, t: Tensor, s: Tensor) -> DDIMWeights:
        now, then, step = process.marginal(t), process.marginal(s), process.transition(t, s)
        fresh = self.eta * step.std * then.sigma / now.sigma
        return DDIMWeights(then.alpha, torch.sqrt((then.sigma**2 - fresh**2).clamp(min=0)), fresh)


@register_predictor(name="reverse_ddim")
@dataclass(frozen=True)
class ReverseDDIM(Predictor[GaussianProcess]):
    """DDIM run from data to noise: x_s = alpha_s x0 + sigma_s eps, s noisier than t (Dhariwal & Nichol 2021).

    Order 1 in log(sigma/alpha): ``ddim`` inverts it as the steps become small.
    """

    order = 1
    at_pure_noise = True
    encodes: ClassVar[bool] = True

    def update_fn(self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        then, prediction = coefficients(x, model.process.marginal, s), model(x, t)
        x = torch.addcmul(then.alpha * prediction.x0, then.sigma, prediction.eps)
        return Step(x, x)
