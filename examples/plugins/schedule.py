"""A learning-rate schedule: steps down by a factor, as ResNets are trained."""

from dataclasses import dataclass
from typing import Annotated

from run_lib.training.optimisers import register_schedule
from sde_lib import Range


@register_schedule
@dataclass(frozen=True)
class Staircase:
    """The rate times factor^(step // every).

    Args:
        every: steps between two falls.
        factor: of each fall.
    """

    every: Annotated[int, Range(least=1)] = 10_000
    factor: Annotated[float, Range(above=0, most=1)] = 0.1

    def __call__(self, step: int, n_iters: int) -> float:
        return self.factor ** (step // self.every)
