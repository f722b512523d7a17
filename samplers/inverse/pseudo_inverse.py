"""Pseudo-inverse guidance."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from models.prediction.noise_model import Model
from samplers.inverse.base import Estimate, PosteriorModel, register_posterior
from samplers.operators.base import Measurement, NoiseStd
from sde_lib.settings import Range, checked


@register_posterior(name="pseudo_inverse")
class PseudoInverseGuidance(PosteriorModel):
    """p(x_0 | x_t) ~ N(E[x_0 | x_t], r^2 I), so p(y | x_t) ~ N(A E[x_0 | x_t], r^2 A A^T + noise_std^2 I) and

        grad log p(y | x_t) = J^T A^T (r^2 A A^T + noise_std^2 I)^-1 (y - A E[x_0 | x_t])

    (Song et al. 2023, PiGDM), with r^2 = c^2 sigma^2 / (alpha^2 c^2 + sigma^2), the variance of x_0
    given x_t for data N(m, c^2 I); c = 1 is theirs. J is the exact Jacobian, and the term is added to the score
    as derived, without the further weights of their algorithm 1. Exact for such data; for others an error
    that falls with how far they are from having one variance in all directions.

    Args:
        data_std: standard deviation c of the data.

    Raises:
        ValueError: a data_std that is not positive.
    """

    @checked
    def __init__(
        self,
        model: Model,
        operator: Measurement,
        *,
        noise_std: NoiseStd = 0.0,
        data_std: Annotated[float, Range(above=0)] = 1.0,
    ) -> None:
        super().__init__(model, operator, noise_std=noise_std)
        self.data_std = data_std

    def likelihood_score(self, estimate: Estimate) -> Tensor:
        alpha, sigma = estimate.alpha.double(), estimate.sigma.double()
        variance = 1 / ((alpha / sigma) ** 2 + self.data_std**-2)
        shift = variance.new_full(variance.shape, self.noise_std**2)
        return estimate.pullback(estimate.operator.ridge(estimate.residual, variance, shift))
