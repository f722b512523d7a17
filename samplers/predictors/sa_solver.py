"""SA-Solver: stochastic Adams methods."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from models.noise_model import Model
from samplers.base import Advance, Memory, MultistepPredictor, register_predictor
from samplers.predictors.multistep import AdamsStep, check_order
from sde_lib.base import GaussianProcess
from sde_lib.exponential import weights
from sde_lib.noise import Noise


@register_predictor(name="sa_solver")
@dataclass(frozen=True)
class SASolver(MultistepPredictor):
    """The reverse SDE of noise strength ``tau`` in data prediction: Adams-Bashforth, then Adams-Moulton with
    the same noise once the step's end has been evaluated (Xue et al. 2023, eq. 14 and 17, algorithm 1).

    Strong order 1 in the noise; its first steps use fewer values.

    Args:
        explicit: data predictions in the predicting formula, 1 to 4.
        implicit: those in the correcting formula, the new one included, 2 to 5; 0 for no correction.
        tau: noise strength: 0 the probability flow, 1 the reverse SDE.
    """

    needs: ClassVar[type] = GaussianProcess
    explicit: int = 2
    implicit: int = 2
    tau: float = 1.0

    def __post_init__(self) -> None:
        check_order("sa_solver's predictor", self.explicit, range(1, 5))
        if self.implicit:
            check_order("sa_solver's corrector", self.implicit, range(2, 6))
        if self.tau < 0:
            raise ValueError(f"sa_solver's tau is a noise strength of 0 or more, got {self.tau}.")

    @property
    def order(self) -> int | None:
        if self.tau:
            return None
        return min(self.implicit, self.explicit + 1) if self.implicit else self.explicit

    def advance(self, model: Model, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory) -> Advance:
        rule = functools.partial(weights, "x0", tau=self.tau)
        return AdamsStep("x0", rule, self.explicit, self.implicit)(model, x, t, s, noise, memory)
