"""The variance-exploding SDE."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from sde_lib.base import GaussianSDE, Marginal, register_sde
from sde_lib.rates import Rates
from sde_lib.settings import Range


@register_sde(name="vesde")
@dataclass(frozen=True)
class VESDE(GaussianSDE):
    """dx = sigma(t) sqrt(2 log(sigma_max/sigma_min)) dw (Song et al. 2021, eq. 9, 30-31).

    sigma(t) = sigma_min (sigma_max/sigma_min)^t for t > 0, and sigma(0) = 0: clean data have no noise.

    Args:
        sigma_min: standard deviation of the noise at the least noisy level.
        sigma_max: standard deviation of the prior, above sigma_min.
        N: number of levels of the SMLD chain of which it is the limit.
        t_min: the smallest time at which the score is trained and at which likelihoods are read.
        t_end: the smallest time at which samplers evaluate the score.
    """

    sigma_min: Annotated[float, Range(above=0)] = 0.01
    sigma_max: Annotated[float, Range(above=0)] = 50.0
    N: Annotated[int, Range(least=1)] = 1000
    t_min: Annotated[float, Range(least=0, below=1)] = 1e-5
    t_end: float = 1e-5

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(
                f"VESDE needs 0 < sigma_min < sigma_max, got {self.sigma_min} and {self.sigma_max}."
            )
        super().__post_init__()

    @property
    def prior_std(self) -> float:
        return self.sigma_max

    @property
    def log_ratio(self) -> float:
        """log(sigma_max / sigma_min)."""
        return math.log(self.sigma_max / self.sigma_min)

    def sigma(self, t: Tensor) -> Tensor:
        """sigma_min (sigma_max/sigma_min)^t, shaped like ``t``, at 0 too, where clean data have none."""
        return self.sigma_min * torch.exp(t * self.log_ratio)

    def marginal(self, t: Tensor) -> Marginal:
        t = t.double()
        sigma = torch.where(t > 0, self.sigma(t), torch.zeros_like(t))
        return Marginal(torch.ones_like(t), sigma)

    def rates(self, t: Tensor) -> Rates:
        t = t.double()
        return Rates(torch.zeros_like(t), self.sigma(t) * math.sqrt(2 * self.log_ratio))

    def time_of(self, noise_to_signal: Tensor) -> Tensor:
        return torch.log(noise_to_signal.double() / self.sigma_min) / self.log_ratio
