"""A predictor: DDIM that believes its network's noise a little less than it says."""

from dataclasses import dataclass
from typing import Annotated

from samplers import Predictor, Step, register_predictor
from sde_lib import GaussianProcess, Range, expand


@register_predictor
@dataclass(frozen=True)
class ScaledDDIM(Predictor[GaussianProcess]):
    """x_s = alpha_s x0 + sigma_s e with e = eps / damping, x0 = (x_t - sigma_t e) / alpha_t (Ning et al. 2024).

    Args:
        damping: divides the predicted noise; slightly more than 1 makes up for sampling errors that add up.
    """

    damping: Annotated[float, Range(above=0)] = 1.005

    def update_fn(self, model, x, t, s, noise):
        now, then = model.process.marginal(t), model.process.marginal(s)
        eps = model(x, t).eps / self.damping
        x0 = (x - expand(now.sigma, x) * eps) / expand(now.alpha, x)
        x = expand(then.alpha, x) * x0 + expand(then.sigma, x) * eps
        return Step(x, x)
