"""DEIS: exponential Adams-Bashforth in the noise prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from samplers.base import Advance, GaussianModel, Memory, MultistepPredictor, register_predictor
from samplers.predictors.multistep import AdamsStep
from sde_lib.base import GaussianProcess, Marginal
from sde_lib.exponential import Variable, Weights, weights
from sde_lib.noise import Noise
from sde_lib.settings import Range


@register_predictor(name="deis")
@dataclass(frozen=True)
class DEIS(MultistepPredictor[GaussianProcess]):
    """x_s = alpha_s/alpha_t x_t + sum_k c_k eps_k, c_k the integrals of Lagrange's polynomials
    (Zhang & Chen 2023, eq. 14-15). Its first steps are of lower order.

    Args:
        order: order of convergence, 1 to 4; order 1 is DDIM.
        variable: the variable of the polynomials: ``ratio``, the paper's rho = sigma/alpha, or its logarithm, ``log``.
    """

    order: Annotated[int, Range(least=1, most=4)] = 3
    variable: Variable = "log"

    def advance(
        self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> Advance:
        return AdamsStep("eps", self._rule, self.order)(model, x, t, s, noise, memory)

    def _rule(self, now: Marginal, then: Marginal, nodes: Sequence[Tensor]) -> Weights:
        return weights("eps", now, then, nodes, variable=self.variable)


@register_predictor(name="lms")
@dataclass(frozen=True)
class LinearMultistep(MultistepPredictor[GaussianProcess]):
    """Adams-Bashforth for d(x/alpha) = eps d(sigma/alpha) (Hairer, Norsett & Wanner 1993, section III.1, with
    variable steps; Liu et al. 2022 in PNDM; Karras et al. 2022's equation). Its first steps are of lower
    order.

    Args:
        order: order of convergence, 1 to 4.
    """

    order: Annotated[int, Range(least=1, most=4)] = 4

    def advance(
        self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> Advance:
        return AdamsStep("eps", self._rule, self.order)(model, x, t, s, noise, memory)

    def _rule(self, now: Marginal, then: Marginal, nodes: Sequence[Tensor]) -> Weights:
        return weights("eps", now, then, nodes, variable="ratio")
