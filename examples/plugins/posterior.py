"""A method for inverse problems: the gradient of the residual with a weight that grows with the noise level."""

from typing import Annotated

from samplers.inverse import PosteriorModel, register_posterior
from sde_lib import Range, expand


@register_posterior
class Tempered(PosteriorModel):
    """grad log p(y | x_t) ~ J^T A^T (y - A E[x_0 | x_t]) / (temperature + sigma^2 / alpha^2).

    Args:
        temperature: variance that the residual is given where there is no noise.
    """

    def __init__(
        self, model, operator, *, noise_std=0.0, temperature: Annotated[float, Range(above=0)] = 0.1
    ):
        super().__init__(model, operator, noise_std=noise_std)
        self.temperature = temperature

    def likelihood_score(self, estimate):
        variance = self.temperature + (estimate.sigma / estimate.alpha) ** 2
        back = estimate.operator.adjoint(estimate.residual)
        return estimate.pullback(back / expand(variance, back))
