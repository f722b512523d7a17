"""Guidance: towards a given mean, by the gradient of a Gaussian log-probability of the predicted data."""

from typing import Annotated

from samplers import register_guidance
from samplers.guidance.base import Guided
from sde_lib import Range


@register_guidance
class Towards(Guided):
    """score + scale (target - E[x_0 | x_t]) / (width^2 + sigma^2), a pull that weakens where noise is strong.

    Args:
        target: value that every element of the data is pulled to.
        width: standard deviation of the pull where there is no noise.
        scale: strength of the guidance.
    """

    def __init__(
        self, model, target: float = 0.0, width: Annotated[float, Range(above=0)] = 1.0, scale: float = 1.0
    ):
        super().__init__(model, scale, None)
        self.target, self.width = target, width

    def forward(self, x, t, **cond):
        prediction = self.model(x, t, **cond)
        pull = (self.target - prediction.x0) / (self.width**2 + prediction.sigma**2)
        return prediction.plus_score(self.scale * pull)
