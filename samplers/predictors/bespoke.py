"""A multistep method whose coefficients were made for one grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from samplers.base import Advance, GaussianModel, Memory, MultistepPredictor, Predictor, register_predictor
from samplers.predictors.multistep import AdamsStep
from sde_lib.base import GaussianProcess, Marginal
from sde_lib.exponential import Weights, log_ratio
from sde_lib.noise import Noise


def shared_weights(
    shares: Sequence[float | Tensor], now: Marginal, then: Marginal, nodes: Sequence[Tensor]
) -> Weights:
    """x_s = sigma_s/sigma_t x_t + alpha_s (1 - e^-h) sum_j shares[j] x0_j, h the step in log(alpha/sigma).

    With fewer values than shares, the oldest takes what is left to those before it.
    """
    used = [*shares[: len(nodes) - 1], sum(shares[len(nodes) - 1 :])]
    whole = -then.alpha * torch.expm1(log_ratio(now) - log_ratio(then))
    return Weights(then.sigma / now.sigma, tuple(share * whole for share in used), None)


@register_predictor(name="bespoke")
@dataclass(frozen=True)
class Bespoke(MultistepPredictor[GaussianProcess]):
    """Each step weighs the data predictions so far with shares of its own (Shaul et al. 2024, "Bespoke
    non-stationary solvers", eq. 13-14, here with shares that sum to one).

    The shares belong to one grid of one model: ``samplers.bespoke`` finds both. Since they sum to one every
    step is right where the prediction does not change, and the method is of order 1 whatever they are;
    its use is the least error at a given small number of steps, not convergence. Adams' and DPM-Solver++'s
    formulas are special cases.

    Args:
        shares: for each step of the grid, the shares of the data predictions so far, that of the latest prediction
            first; older predictions without a share are not used. Empty: every step is DDIM.
    """

    order = 1
    shares: Sequence[Sequence[float | Tensor]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for number, row in enumerate(self.shares):
            if not len(row) or not -1e-4 <= sum(row) - 1 <= 1e-4:
                raise ValueError(f"bespoke's shares sum to one in every step; those of step {number} do not.")

    def plan(self, process: GaussianProcess, times: Tensor) -> Sequence[Predictor[GaussianProcess]]:
        """A step for each row.

        Raises:
            ValueError: the grid has another number of steps.
        """
        steps = len(times) - 1
        if not self.shares:
            return [self] * steps
        if len(self.shares) != steps:
            raise ValueError(
                f"bespoke's shares are for {len(self.shares)} steps but the grid has {steps}: they belong to "
                f"the grid of {len(self.shares) + 1} times with which they were found."
            )
        longest = max(len(row) for row in self.shares)
        rows = [[*row, *[0.0] * (longest - len(row))] for row in self.shares]
        return [dataclasses.replace(self, shares=(row,)) for row in rows]

    def advance(
        self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> Advance:
        """The first row's step."""
        return AdamsStep("x0", self._rule, len(self._row()))(model, x, t, s, noise, memory)

    def _row(self) -> Sequence[float | Tensor]:
        return self.shares[0] if self.shares else (1.0,)

    def _rule(self, now: Marginal, then: Marginal, nodes: Sequence[Tensor]) -> Weights:
        return shared_weights(self._row(), now, then, nodes)
