"""Restart sampling: down the probability flow, up again by the forward process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from samplers.base import GaussianModel, Predictor, Step, register_predictor
from samplers.predictors.heun import Heun, heun_between
from sde_lib.base import GaussianProcess, coefficients
from sde_lib.noise import Noise
from sde_lib.settings import Range
from sde_lib.words import digits


@register_predictor(name="restart")
@dataclass(frozen=True)
class Restart(Predictor[GaussianProcess]):
    """Heun's method; on reaching ``restart_low`` it returns ``repeats`` times to ``restart_high`` by adding
    noise, and comes down again in ``inner`` Heun steps (Xu et al. 2023, algorithm 1).

    Evaluations: two for each step of the grid and 2 repeats inner for the restarts. The restarts happen in
    one step, the first of the grid to end at or below ``restart_low``, which is known before the loop.

    Args:
        restart_low: value of sigma/alpha from which the sampler returns.
        restart_high: value of sigma/alpha to which it returns, above ``restart_low``.
        repeats: number of restarts.
        inner: number of Heun steps from ``restart_high`` back to ``restart_low``.
    """

    restart_low: Annotated[float, Range(above=0)] = 0.1
    restart_high: Annotated[float, Range(above=0)] = 0.3
    repeats: Annotated[int, Range(least=1)] = 2
    inner: Annotated[int, Range(least=1)] = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.restart_low < self.restart_high:
            raise ValueError(
                f"restart goes from low up to high, 0 < low < high; got {self.restart_low} and {self.restart_high}."
            )

    @property
    def evaluations(self) -> None:
        """Two in most steps, and more where it restarts."""
        return None

    def plan(self, process: GaussianProcess, times: Tensor) -> Sequence[Predictor[GaussianProcess]]:
        """Heun everywhere but in the step that ends at or below ``restart_low``.

        Raises:
            ValueError: no step does, or ``restart_high`` is above the first time.
        """
        level = process.marginal(times)
        ratio = (level.sigma / level.alpha).tolist()
        at = next((k for k, value in enumerate(ratio[1:]) if value <= self.restart_low), None)
        if at is None or self.restart_high > ratio[0]:
            raise ValueError(
                f"restart between sigma/alpha = {self.restart_low} and {self.restart_high} needs a grid that passes "
                f"both; this one goes from {digits(ratio[0], 3)} to {digits(ratio[-1], 3)}."
            )
        elsewhere = Heun()
        return [self if k == at else elsewhere for k in range(len(times) - 1)]

    def update_fn(self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        process = model.process
        x, level = heun_between(model, x, t, s), process.marginal(s)
        ratio = level.sigma / level.alpha
        times = [
            process.time_of(self.restart_high * (ratio / self.restart_high) ** (k / self.inner))
            for k in range(self.inner)
        ] + [s]
        for _ in range(self.repeats):
            forward = coefficients(x, process.transition, times[0], s)
            x = torch.addcmul(forward.scale * x, forward.std, noise.normal(x.shape))
            for here, there in zip(times[:-1], times[1:], strict=True):
                x = heun_between(model, x, here, torch.minimum(here, there))
        return Step(x, x)
