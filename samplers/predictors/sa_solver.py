"""SA-Solver: stochastic Adams methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from samplers.base import Advance, GaussianModel, Memory, MultistepPredictor, Predictor, register_predictor
from samplers.predictors.multistep import AdamsStep, check_order
from sde_lib.base import GaussianProcess, Marginal
from sde_lib.exponential import Weights, weights
from sde_lib.noise import Noise
from sde_lib.settings import Range


@register_predictor(name="sa_solver")
@dataclass(frozen=True)
class SASolver(MultistepPredictor[GaussianProcess]):
    """The reverse SDE of noise strength ``tau`` in data prediction: Adams-Bashforth, then Adams-Moulton with
    the same noise once the step's end has been evaluated (Xue et al. 2023, eq. 14 and 17, algorithm 1).

    Strong order 1 in the noise; its first steps use fewer values. The paper's tau(t) is here a constant
    between two levels, and zero outside. With few steps, noise between levels where the network is at its
    best, and a last step that does not extrapolate what noise has made of the values before, spread the
    samples less.

    Args:
        explicit: number of data predictions in the predictor's formula (Adams-Bashforth), 1 to 4.
        implicit: number of data predictions in the corrector's formula (Adams-Moulton), the new one included, 2 to 5;
            0 for no correction.
        tau: noise strength: 0 is the probability flow, 1 the reverse SDE.
        tau_low: steps from values of sigma/alpha above this one add noise.
        tau_high: steps from values of sigma/alpha up to this one add noise.
        lower_order_final: whether the last step uses the latest data prediction alone.
    """

    explicit: Annotated[int, Range(least=1, most=4)] = 2
    implicit: Annotated[int, Range(least=0, most=5)] = 2
    tau: Annotated[float, Range(least=0)] = 1.0
    tau_low: Annotated[float, Range(least=0)] = 0.0
    tau_high: Annotated[float, Range(above=0, finite=False)] = float("inf")
    lower_order_final: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.implicit:
            check_order("sa_solver's corrector", self.implicit, range(2, 6))
        if not self.tau_low < self.tau_high:
            raise ValueError(
                f"sa_solver adds noise between two levels of sigma/alpha, 0 <= tau_low < tau_high; "
                f"got {self.tau_low} and {self.tau_high}."
            )

    @property
    def order(self) -> int | None:
        if self.tau:
            return None
        return min(self.implicit, self.explicit + 1) if self.implicit else self.explicit

    def plan(self, process: GaussianProcess, times: Tensor) -> Sequence[Predictor[GaussianProcess]]:
        """All this one, but for the last step."""
        steps: list[Predictor[GaussianProcess]] = [self] * (len(times) - 1)
        if steps and self.lower_order_final:
            steps[-1] = dataclasses.replace(self, explicit=1)
        return steps

    def advance(
        self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> Advance:
        return AdamsStep("x0", self._rule, self.explicit, self.implicit)(model, x, t, s, noise, memory)

    def _rule(self, now: Marginal, then: Marginal, nodes: Sequence[Tensor]) -> Weights:
        if self.tau == 0:
            return weights("x0", now, then, nodes)
        ratio = now.sigma / now.alpha
        inside = (ratio > self.tau_low) & (ratio <= self.tau_high)
        return weights("x0", now, then, nodes, tau=self.tau * inside.to(ratio.dtype))
