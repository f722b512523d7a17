"""A training objective: the pseudo-Huber loss, to which outliers matter less."""

from dataclasses import dataclass
from typing import Annotated

from losses import Loss, TimeSampler, register_objective
from sde_lib import Process, Range, expand


@register_objective
@dataclass(frozen=True)
class PseudoHuber(Loss[Process]):
    """The mean of delta^2 (sqrt(1 + (e / delta)^2) - 1) for the error e in eps (Charbonnier et al. 1997).

    Args:
        times: distribution of the times.
        delta: errors well below it cost e^2 / 2, errors well above it delta |e|.
    """

    times: TimeSampler
    delta: Annotated[float, Range(above=0)] = 1.0

    def values(self, process, prediction, x0, noisy, t):
        error = noisy.eps + expand(noisy.std, x0) * prediction.score
        huber = self.delta**2 * ((1 + (error / self.delta) ** 2).sqrt() - 1)
        return huber.flatten(1).mean(1)
