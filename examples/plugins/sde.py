"""An SDE without a Gaussian marginal: Langevin diffusion to a prior with heavy tails."""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F

from sde_lib import SDE, Coefficients, Range, register_sde


@register_sde
@dataclass(frozen=True)
class LogisticSDE(SDE):
    """dx = grad log p dt + sqrt(2) dw for the logistic density p(x) = sech(x / 2 scale)^2 / (4 scale).

    Args:
        scale: of the logistic distribution, which is the prior.
    """

    scale: Annotated[float, Range(above=0)] = 0.5

    def sde(self, x, t):
        return Coefficients(-torch.tanh(x / (2 * self.scale)) / self.scale, torch.full_like(t, 2**0.5))

    def prior_sampling(self, shape, noise):
        return self.scale * torch.logit(noise.uniform(shape), eps=1e-7)

    def prior_logp(self, z):
        u = z.double().flatten(1) / self.scale
        return (F.logsigmoid(u) + F.logsigmoid(-u) - torch.tensor(self.scale).log()).sum(1)
