"""A distribution of training times: a power of a uniform one."""

from dataclasses import dataclass
from typing import Annotated

from losses import TimeSampler, register_times
from sde_lib import SDE, Range


@register_times
@dataclass(frozen=True)
class PowerOfUniform(TimeSampler[SDE]):
    """t = T u^power, u uniform on [0, 1).

    Args:
        power: above 1 trains more at clean times, below at noisy ones.
    """

    power: Annotated[float, Range(above=0)] = 2.0

    def sample(self, process, noise):
        u = noise.uniform((len(noise), 1))[:, 0].double()
        return (process.T * u**self.power).clamp(min=process.t_min)
