"""DPM-Solver and DPM-Solver++, multistep, singlestep and stochastic."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from samplers.base import (
    Advance,
    GaussianModel,
    Memory,
    MultistepPredictor,
    Predictor,
    Step,
    register_predictor,
)
from samplers.predictors.multistep import AdamsStep, view
from sde_lib.base import GaussianProcess
from sde_lib.exponential import Form, log_ratio, weights
from sde_lib.noise import Noise
from sde_lib.settings import Range


@register_predictor(name="dpm_solver_multistep")
@dataclass(frozen=True)
class DPMSolverMultistep(MultistepPredictor[GaussianProcess]):
    """DPM-Solver++(2M), (3M): the last values' polynomial in log(alpha/sigma) (Lu et al. 2022b, eq. 9).

    The integrals are exact: of order 3 with three values, which the common form of 3M, with half the weight
    on its second difference, is not. Its first steps are of lower order.

    Args:
        order: order of convergence, 1 to 3; order 1 is DDIM.
        form: the view of the prediction that is interpolated: ``x0`` (DPM-Solver++), ``eps`` (DPM-Solver) or ``v``.
    """

    order: Annotated[int, Range(least=1, most=3)] = 2
    form: Form = "x0"

    def advance(
        self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> Advance:
        step = AdamsStep(self.form, functools.partial(weights, self.form), self.order)
        return step(model, x, t, s, noise, memory)


@register_predictor(name="sde_dpm_solver_multistep")
@dataclass(frozen=True)
class SDEDPMSolverMultistep(MultistepPredictor[GaussianProcess]):
    """SDE-DPM-Solver++(2M), (3M): the reverse SDE, its data predictions interpolated (Lu et al. 2022b, eq.
    19-20).

    Args:
        solver_order: number of data predictions in the formula, 1 to 3; with 1 it is ancestral sampling.
    """

    solver_order: Annotated[int, Range(least=1, most=3)] = 2

    def advance(
        self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> Advance:
        step = AdamsStep("x0", functools.partial(weights, "x0", tau=1.0), self.solver_order)
        return step(model, x, t, s, noise, memory)


@register_predictor(name="dpm_solver_singlestep")
@dataclass(frozen=True)
class DPMSolverSinglestep(Predictor[GaussianProcess]):
    """DPM-Solver++(2S), (3S): an exponential Runge-Kutta method of 2 or 3 evaluations a step.

    Stages at r h, r = 1/2, or 1/3 and 2/3, in log(alpha/sigma); each integrates the line through the first
    value and the one before (Lu et al. 2022a, algorithms 1-2; 2022b, algorithm 1). On a chain the stages are
    at the nearest levels, and the order is that of the levels' spacing.

    Args:
        order: order of convergence, 2 or 3, and number of evaluations a step.
        form: the view of the prediction that is interpolated: ``x0`` (DPM-Solver++), ``eps`` (DPM-Solver) or ``v``.
    """

    order: Annotated[int, Range(least=2, most=3)] = 2
    form: Form = "x0"

    @property
    def evaluations(self) -> int:
        return self.order

    def update_fn(self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        process = model.process
        now, first = process.marginal(t), view(model(x, t), self.form)
        nodes, values = [log_ratio(now)], [first]
        l_s = log_ratio(process.marginal(s))
        for stage in range(1, self.order):
            there = process.time_of((-(nodes[0] + stage / self.order * (l_s - nodes[0]))).exp())
            level = process.marginal(there)
            y = weights(self.form, now, level, nodes).mean(x, values)
            nodes, values = [nodes[0], log_ratio(level)], [first, view(model(y, there), self.form)]
        x = weights(self.form, now, process.marginal(s), nodes).mean(x, values)
        return Step(x, x)
