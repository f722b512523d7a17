"""The rule from a number of evaluations, and a process, to a predictor and its grid: ``predictor='auto'``.

docs/auto_sampler.md has the table and how it was found and judged.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

from samplers.base import Predictor
from samplers.predictors.adams import ExponentialAdams
from samplers.predictors.euler_maruyama import EulerMaruyama
from samplers.predictors.reverse_diffusion import ReverseDiffusion
from sde_lib.base import Process
from sde_lib.grids import Blend, Grid, Uniform
from sde_lib.needs import serves
from sde_lib.registry import registered_name


@dataclass(frozen=True)
class Chosen:
    """A predictor, its grid, and why they are these."""

    predictor: Predictor
    grid: Grid
    reason: str

    def __str__(self) -> str:
        return f"{_written(self.predictor)} on {_written(self.grid)}, {self.reason}"

    @property
    def without_grid(self) -> str:
        """Of times that are given."""
        return f"{_written(self.predictor)}, {self.reason}"


@dataclass(frozen=True)
class Row:
    """What is taken up to some number of evaluations.

    Attributes:
        most: evaluations; None: any.
        predictor: an exponential Adams method of one evaluation a step.
        grid: where they lie.
    """

    most: int | None
    predictor: ExponentialAdams
    grid: Blend


def _corrected(order: int, data_std: float, shape: float = math.inf) -> ExponentialAdams:
    return ExponentialAdams(order, "v", True, data_std, shape, keeps_data=True)


RULE = (
    Row(6, _corrected(4, data_std=0.9, shape=1.4), Blend(0.95, 1.55, 1.8)),
    Row(9, _corrected(4, data_std=1.1, shape=2.1), Blend(0.95, 1.3, 1.65)),
    Row(17, _corrected(4, data_std=1.3, shape=2.1), Blend(0.965, 0.85, 2.1)),
    Row(60, _corrected(5, data_std=1.4, shape=2.3), Blend(0.965, 0.6, 2.1)),
    Row(None, _corrected(5, data_std=1.4), Blend(0.965, 0.6, 2.1)),
)
"""Of processes with a Gaussian marginal, by the number of evaluations."""


def choose(process: Process, num_steps: int) -> Chosen:
    """The predictor and the grid for so many evaluations of a model of a process.

    Levels are said as sigma/alpha, so that VP, subVP, VE, EDM and chains, whose levels the grid rounds to, have one
    rule.
    """
    if not serves(process, ExponentialAdams):
        known = "no Gaussian marginal is known, from which faster methods take their coefficients"
        return Chosen(
            EulerMaruyama() if serves(process, EulerMaruyama) else ReverseDiffusion(), Uniform(), known
        )
    row = next(row for row in RULE if row.most is None or num_steps <= row.most)
    return Chosen(row.predictor, row.grid, f"the rule for {num_steps} evaluations")


@dataclass(frozen=True)
class Automatic:
    """The predictor, and its grid, that ``samplers.automatic.choose`` finds for the number of evaluations.

    It takes no setting but ``num_steps``, no grid and no corrector, which would clear its memory at every step.
    """

    needs: ClassVar[type] = Process
    encodes: ClassVar[bool] = False
    evaluations: ClassVar[int] = 1


def _written(component: Any) -> str:
    """A component and its settings that are not at their defaults: ``adams(order=4, corrected=True)``."""
    said = [
        f"{field.name}={getattr(component, field.name)!r}"
        for field in dataclasses.fields(component)
        if getattr(component, field.name) != field.default
    ]
    name = registered_name(type(component))
    return f"{name}({', '.join(said)})" if said else name
