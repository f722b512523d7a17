"""SEEDS: stochastic exponential Runge-Kutta methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from samplers.base import GaussianModel, Predictor, Step, register_predictor
from samplers.predictors.multistep import view
from sde_lib.base import GaussianProcess, coefficients
from sde_lib.exponential import Weights, log_ratio, stage_level, stage_time, weights
from sde_lib.noise import Noise
from sde_lib.settings import Range
from sde_lib.timetable import tabulated_time


@dataclass(frozen=True)
class Stage:
    """What leads from t to a stage.

    Attributes:
        weights: of the state and of the values so far.
        last: of the stretch since the stage before, on which the noise grows.
    """

    weights: Weights
    last: Weights

    def stretch(self, path: Tensor | None, fresh: Tensor) -> Tensor:
        """The noise so far carried to the stage, and what is added on the way there of the unit noise ``fresh``."""
        assert self.last.std is not None, "there is noise for tau > 0"
        added = self.last.std * fresh
        return added if path is None else torch.addcmul(added, self.last.state, path)


@register_predictor(name="seeds")
@dataclass(frozen=True)
class SEEDS(Predictor[GaussianProcess]):
    """The reverse SDE by exponential Runge-Kutta stages that share one Brownian path (Gonzalez et al. 2023,
    eq. 15-17): stages at 1/2, or 1/3 and 2/3, of the step in log(alpha/sigma).

    Each stage adds the noise of its own stretch to that of the stretches before; the linear part and the
    noise are exact, the model's part integrates the line through the first value and the last.

    Args:
        stages: number of evaluations a step, 2 or 3.
        form: the view of the prediction that is interpolated, ``eps`` as in the paper, or ``x0``.
    """

    stages: Annotated[int, Range(least=2, most=3)] = 2
    form: Literal["x0", "eps"] = "x0"

    @property
    def evaluations(self) -> int:
        return self.stages

    def update_fn(self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        process, first = model.process, view(model(x, t), self.form)
        values, path = [first], None
        for stage in range(1, self.stages):
            there = tabulated_time(stage_time, stage / self.stages, process, t, s)
            step = coefficients(x, self._stage, stage, process, t, s)
            path = step.stretch(path, noise.normal(x.shape))
            y = step.weights.mean(x, values) + path
            values = [first, view(model(y, there), self.form)]
        step = coefficients(x, self._stage, self.stages, process, t, s)
        mean = step.weights.mean(x, values)
        return Step(mean + step.stretch(path, noise.normal(x.shape)), mean)

    def _stage(self, stage: int, process: GaussianProcess, t: Tensor, s: Tensor) -> Stage:
        """From t to a stage, or to s after the last, with the values at t and at the stage before."""
        now = process.marginal(t)
        before = stage_level((stage - 1) / self.stages, process, t, s) if stage > 1 else now
        then = stage_level(stage / self.stages, process, t, s) if stage < self.stages else process.marginal(s)
        nodes = [log_ratio(level) for level in ((now, before) if stage > 1 else (now,))]
        return Stage(
            weights(self.form, now, then, nodes, tau=1.0), weights(self.form, before, then, (), tau=1.0)
        )
