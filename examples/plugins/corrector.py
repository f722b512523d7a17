"""A corrector: Langevin dynamics of a fixed relative step and a temperature."""

from dataclasses import dataclass
from typing import Annotated

from samplers import Corrector, Step, register_corrector
from sde_lib import GaussianProcess, Range, expand


@register_corrector
@dataclass(frozen=True)
class TemperedLangevin(Corrector[GaussianProcess]):
    """x + e score + sqrt(2 e temperature) z with e = step sigma_t^2; its target is p_t^(1/temperature).

    Args:
        step: the step's size in units of the variance sigma_t^2 of the noise.
        temperature: 1 samples p_t, less sharpens it, 0 climbs to its mode.
    """

    step: Annotated[float, Range(above=0, below=1)] = 0.05
    temperature: Annotated[float, Range(least=0)] = 1.0

    def update_fn(self, model, x, t, noise):
        size = self.step * model.process.marginal(t).sigma ** 2
        mean = x + expand(size, x) * model(x, t).score
        return Step(mean + expand((2 * size * self.temperature).sqrt(), x) * noise.normal(x.shape), mean)
