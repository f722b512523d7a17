"""A distribution of training times: logit-normal."""

from dataclasses import dataclass
from typing import Annotated

from losses import TimeSampler, register_times
from sde_lib import SDE, Range


@register_times
@dataclass(frozen=True)
class LogitNormal(TimeSampler[SDE]):
    """t = T sigmoid(location + spread z), z standard normal (Esser et al. 2024, section 3.1).

    Args:
        location: negative trains more at clean times, positive at noisy ones.
        spread: standard deviation of logit(t/T).
    """

    location: float = 0.0
    spread: Annotated[float, Range(above=0)] = 1.0

    def sample(self, process, noise):
        z = noise.normal((len(noise), 1))[:, 0].double()
        t = process.T * (self.location + self.spread * z).sigmoid()
        return t.clamp(min=process.t_min)
