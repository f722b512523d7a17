"""Moment-matching posterior sampling."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from models.prediction.noise_model import Model
from samplers.inverse.base import Estimate, PosteriorModel, register_posterior
from samplers.operators.base import Measurement, NoiseStd
from samplers.operators.krylov import conjugate_gradients
from sde_lib.base import expand
from sde_lib.settings import Range, checked


@register_posterior(name="moment_matching")
class MomentMatching(PosteriorModel):
    """p(x_0 | x_t) ~ N(E[x_0 | x_t], V) with its own covariance, V = (sigma^2 / alpha) d E[x_0 | x_t] / d x_t:

        grad log p(y | x_t) = J^T A^T (A V A^T + noise_std^2 I)^-1 (y - A E[x_0 | x_t])

    (Rozet et al. 2024, MMPS). The system is solved for each sample by conjugate gradients, V acting
    by vector-Jacobian products (V is symmetric where the score is a gradient). Exact for Gaussian data once
    ``iterations`` reaches the number of distinct eigenvalues of A V A^T; a few iterations regularise.

    Args:
        iterations: number of iterations of conjugate gradients; each costs a vector-Jacobian product.

    Raises:
        ValueError: fewer than 1 iteration.
    """

    @checked
    def __init__(
        self,
        model: Model,
        operator: Measurement,
        *,
        noise_std: NoiseStd = 0.0,
        iterations: Annotated[int, Range(least=1, most=10**6)] = 5,
    ) -> None:
        super().__init__(model, operator, noise_std=noise_std)
        self.iterations = iterations

    def likelihood_score(self, estimate: Estimate) -> Tensor:
        operator = estimate.operator
        ratio = estimate.sigma.double() ** 2 / estimate.alpha.double()

        def covariance_of_y(v: Tensor) -> Tensor:
            of_x0 = estimate.pullback(operator.adjoint(v))
            return operator.apply(expand(ratio, of_x0) * of_x0) + self.noise_std**2 * v

        solved = conjugate_gradients(covariance_of_y, estimate.residual, self.iterations)
        return estimate.pullback(operator.adjoint(solved))
