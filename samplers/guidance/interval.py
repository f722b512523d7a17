"""The noise levels at which a model is guided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from torch import Tensor

from sde_lib.base import GaussianProcess, Process
from sde_lib.settings import Range
from sde_lib.timetable import tabulated

Bounds: TypeAlias = Sequence[Annotated[float, Range(least=0, finite=False)]]
"""(low, high) of sigma/alpha."""


@dataclass(frozen=True)
class Interval:
    """low < sigma/alpha <= high (Kynkaanniemi et al. 2024, section 3).

    sigma/alpha is the paper's sigma, so that its values serve every process: it is sigma itself for VE, and
    for VP the level at which x_t / alpha has that much noise.

    Args:
        low, high: 0 <= low < high; infinity is allowed.

    Raises:
        ValueError: any other bounds.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high:
            raise ValueError(
                f"guidance's interval is (low, high) of sigma/alpha with 0 <= low < high; got "
                f"({self.low}, {self.high})."
            )

    @classmethod
    def of(cls, bounds: Bounds) -> Interval:
        """From two numbers.

        Raises:
            ValueError: there are not two.
        """
        if len(bounds) != 2:
            raise ValueError(f"guidance's interval is (low, high) of sigma/alpha; got {tuple(bounds)}.")
        return cls(float(bounds[0]), float(bounds[1]))

    def check(self, process: Process) -> GaussianProcess:
        """The process, if it has noise levels.

        Raises:
            ValueError: it has no Gaussian marginal.
        """
        if not isinstance(process, GaussianProcess):
            raise ValueError(
                f"guidance's interval is one of noise levels, and {type(process).__name__} has no Gaussian "
                f"marginal to have them; leave it unset."
            )
        return process

    def holds(self, process: Process, t: Tensor) -> Tensor:
        """Whether the times (B,) lie inside, (B,)."""
        return tabulated(self._holds, self.check(process), t)

    def _holds(self, process: GaussianProcess, t: Tensor) -> Tensor:
        m = process.marginal(t)
        ratio = m.sigma / m.alpha
        return (ratio > self.low) & (ratio <= self.high)
