"""DPM-Solver and DPM-Solver++, multistep, singlestep and stochastic."""

from __future__ import annotations

from collections.abc import Sequence
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
from sde_lib.base import GaussianProcess, Marginal, coefficients
from sde_lib.exponential import Form, Weights, log_ratio, stage_level, stage_time, weights
from sde_lib.noise import Noise
from sde_lib.settings import Range
from sde_lib.timetable import tabulated_time


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
        return AdamsStep(self.form, self._rule, self.order)(model, x, t, s, noise, memory)

    def _rule(self, now: Marginal, then: Marginal, nodes: Sequence[Tensor]) -> Weights:
        return weights(self.form, now, then, nodes)


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
        return AdamsStep("x0", self._rule, self.solver_order)(model, x, t, s, noise, memory)

    def _rule(self, now: Marginal, then: Marginal, nodes: Sequence[Tensor]) -> Weights:
        return weights("x0", now, then, nodes, tau=1.0)


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
        process, first = model.process, view(model(x, t), self.form)
        values = [first]
        for stage in range(1, self.order):
            there = tabulated_time(stage_time, stage / self.order, process, t, s)
            y = coefficients(x, self._weights, stage, process, t, s).mean(x, values)
            values = [first, view(model(y, there), self.form)]
        x = coefficients(x, self._weights, self.order, process, t, s).mean(x, values)
        return Step(x, x)

    def _weights(self, stage: int, process: GaussianProcess, t: Tensor, s: Tensor) -> Weights:
        """From t to a stage, or to s after the last, with the values at t and at the stage before."""
        now = process.marginal(t)
        before = [stage_level((stage - 1) / self.order, process, t, s)] if stage > 1 else []
        then = stage_level(stage / self.order, process, t, s) if stage < self.order else process.marginal(s)
        return weights(self.form, now, then, [log_ratio(level) for level in (now, *before)])
