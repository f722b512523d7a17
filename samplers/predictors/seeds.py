"""SEEDS: stochastic exponential Runge-Kutta methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from samplers.base import GaussianModel, Predictor, Step, register_predictor
from samplers.predictors.multistep import view
from sde_lib.base import GaussianProcess, Marginal, expand
from sde_lib.exponential import log_ratio, weights
from sde_lib.noise import Noise
from sde_lib.settings import Range


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
        process = model.process
        now, then = process.marginal(t), process.marginal(s)
        first = view(model(x, t), self.form)
        nodes, values = [log_ratio(now)], [first]
        level, path = now, torch.zeros_like(x)
        for stage in range(1, self.stages):
            there = process.time_of((-(nodes[0] + stage / self.stages * (log_ratio(then) - nodes[0]))).exp())
            path, level = self._onward(path, level, process.marginal(there), noise), process.marginal(there)
            y = weights(self.form, now, level, nodes, tau=1.0).mean(x, values) + path
            nodes, values = [nodes[0], log_ratio(level)], [first, view(model(y, there), self.form)]
        mean = weights(self.form, now, then, nodes, tau=1.0).mean(x, values)
        return Step(mean + self._onward(path, level, then, noise), mean)

    def _onward(self, path: Tensor, level: Marginal, to: Marginal, noise: Noise) -> Tensor:
        """The noise so far carried to the next level, and what is added on the way there."""
        stretch = weights(self.form, level, to, (), tau=1.0)
        assert stretch.std is not None, "there is noise for tau > 0"
        return expand(stretch.state, path) * path + expand(stretch.std, path) * noise.normal(path.shape)
