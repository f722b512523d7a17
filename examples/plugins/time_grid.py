"""A time grid: equal steps in time, shifted to where more of them are needed."""

from dataclasses import dataclass
from typing import Annotated

from sde_lib import SDE, Grid, Range, register_grid


@register_grid
@dataclass(frozen=True)
class Shifted(Grid[SDE]):
    """t = shift r / (1 + (shift - 1) r) for equal steps in r = t/T (Esser et al. 2024, eq. 23).

    Args:
        shift: more than 1 places more of the steps at noisy times, less than 1 at clean ones.
    """

    shift: Annotated[float, Range(above=0)] = 3.0

    def place(self, process, u):
        end = process.t_end / process.T
        end = end / (self.shift - (self.shift - 1) * end)  # the r of t_end
        r = 1 + u * (end - 1)
        return process.T * self.shift * r / (1 + (self.shift - 1) * r)
