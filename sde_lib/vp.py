"""The variance-preserving SDE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from sde_lib.base import GaussianSDE, Marginal, register_sde
from sde_lib.rates import Rates
from sde_lib.settings import Range


@register_sde(name="vpsde")
@dataclass(frozen=True)
class VPSDE(GaussianSDE):
    """dx = -beta(t)/2 x dt + sqrt(beta(t)) dw, beta linear in t (Song et al. 2021, eq. 11, 32-33).

    alpha_t = exp(-t^2 (beta_max - beta_min)/4 - t beta_min/2), sigma_t^2 = 1 - alpha_t^2.

    Args:
        beta_min: beta at t = 0.
        beta_max: beta at t = 1, at least beta_min.
        N: number of levels of the DDPM chain of which it is the limit.
        t_min: the smallest time at which the score is trained and at which likelihoods are read.
        t_end: the smallest time at which samplers evaluate the score.
    """

    beta_min: Annotated[float, Range(above=0)] = 0.1
    beta_max: Annotated[float, Range(above=0)] = 20.0
    N: Annotated[int, Range(least=1)] = 1000
    t_min: Annotated[float, Range(least=0, below=1)] = 1e-5
    t_end: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.beta_min <= self.beta_max:
            raise ValueError(
                f"VPSDE needs 0 < beta_min <= beta_max, got {self.beta_min} and {self.beta_max}."
            )
        super().__post_init__()

    def beta(self, t: Tensor) -> Tensor:
        """beta(t), from beta_min at 0 to beta_max at 1, shaped like ``t``."""
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def log_alpha(self, t: Tensor) -> Tensor:
        """log alpha_t, -1/2 of the integral of beta from 0 to t, shaped like ``t``."""
        return -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min

    def marginal(self, t: Tensor) -> Marginal:
        log_alpha = self.log_alpha(t.double())
        return Marginal(log_alpha.exp(), torch.sqrt(-torch.expm1(2 * log_alpha)))

    def rates(self, t: Tensor) -> Rates:
        beta = self.beta(t.double())
        return Rates(-0.5 * beta, beta.sqrt())

    def time_of(self, noise_to_signal: Tensor) -> Tensor:
        """log(1 + (sigma/alpha)^2) = -2 log alpha is quadratic in t."""
        target = torch.log1p(noise_to_signal.double() ** 2)
        slope = self.beta_max - self.beta_min
        return 2 * target / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * slope * target))
