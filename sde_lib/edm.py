"""The process of EDM: noise whose standard deviation is the time itself."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from sde_lib.base import GaussianSDE, Marginal, register_sde
from sde_lib.rates import Rates
from sde_lib.settings import Range, checked


@register_sde(name="edm")
class EDM(GaussianSDE):
    """dx = sqrt(2 t) dw: alpha = 1 and sigma(t) = t (Karras et al. 2022, table 1, column EDM).

    Along its probability flow dx/dt = (x - D(x; t)) / t; the tangent points at the denoised data.

    Args:
        sigma_min: the smallest standard deviation of the noise at which samplers evaluate the model.
        sigma_max: standard deviation of the prior, above sigma_min.
        N: number of levels of the reference discretisation; without effect, because alpha = 1.
        t_min: the smallest time of likelihoods and uniform training; None: sigma_min.
        t_end: the smallest time at which samplers evaluate the model; None: sigma_min.

    Raises:
        ValueError: times out of order.
    """

    @checked
    def __init__(
        self,
        sigma_min: Annotated[
            float, Range(above=0, words="must be positive, 0 < sigma_min < sigma_max")
        ] = 0.002,
        sigma_max: Annotated[float, Range(above=0)] = 80.0,
        N: Annotated[int, Range(least=1)] = 1000,
        t_min: Annotated[float, Range(above=0)] | None = None,
        t_end: Annotated[float, Range(above=0)] | None = None,
    ) -> None:
        self.sigma_min, self.sigma_max, self.N, self.T = sigma_min, sigma_max, N, sigma_max
        self.t_min = sigma_min if t_min is None else t_min
        self.t_end = sigma_min if t_end is None else t_end
        if not sigma_min < sigma_max or max(self.t_min, self.t_end) >= sigma_max:
            raise ValueError(
                f"EDM needs 0 < sigma_min < sigma_max, and t_min and t_end between 0 and sigma_max; "
                f"got {sigma_min}, {sigma_max}, {self.t_min} and {self.t_end}."
            )

    def __repr__(self) -> str:
        return f"EDM(sigma_min={self.sigma_min}, sigma_max={self.sigma_max})"

    @property
    def prior_std(self) -> float:
        return self.sigma_max

    def marginal(self, t: Tensor) -> Marginal:
        t = t.double()
        return Marginal(torch.ones_like(t), t)

    def time_of(self, noise_to_signal: Tensor) -> Tensor:
        return noise_to_signal.double()

    def rates(self, t: Tensor) -> Rates:
        t = t.double()
        return Rates(torch.zeros_like(t), (2 * t).sqrt())
