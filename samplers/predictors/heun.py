"""Heun's method on d(x/alpha) = eps d(sigma/alpha), with or without churn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from samplers.base import GaussianModel, Predictor, Step, register_predictor
from sde_lib.base import GaussianProcess, Transition, coefficients
from sde_lib.noise import Noise
from sde_lib.settings import Range
from sde_lib.timetable import tabulated_time


@dataclass(frozen=True)
class EulerWeights:
    """Euler's step x_s = scale x_t + length eps, exact where eps does not change; each shaped like the time."""

    scale: Tensor
    length: Tensor


def euler_weights(process: GaussianProcess, t: Tensor, s: Tensor) -> EulerWeights:
    """Of a step from t to s."""
    now, then = process.marginal(t), process.marginal(s)
    return EulerWeights(then.alpha / now.alpha, then.sigma - then.alpha * now.sigma / now.alpha)


def heun_step(model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, w: EulerWeights) -> Tensor:
    """The trapezoidal rule with an Euler step inside (Karras et al. 2022, algorithm 1), any alpha."""
    eps = model(x, t).eps
    scaled = w.scale * x
    eps_s = model(torch.addcmul(scaled, w.length, eps), s).eps
    return torch.addcmul(scaled, w.length, eps + eps_s, value=0.5)


def heun_between(model: GaussianModel, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """One step from t to s."""
    return heun_step(model, x, t, s, coefficients(x, euler_weights, model.process, t, s))


@register_predictor(name="heun")
@dataclass(frozen=True)
class Heun(Predictor[GaussianProcess]):
    """EDM's sampler: noise up by ``churn``, then one Heun step (Karras et al. 2022, algorithms 1-2).

    Order 2 without churn; two evaluations a step. With churn the law's order is 2 as long as ``churn`` falls as
    one over the number of steps, as the paper's does (S_churn fixed), and 1 where it stays the same: the way
    down from a raised level then does not shorten with the steps. On a chain the raised level is the nearest
    one.

    Args:
        churn: share by which sigma/alpha is raised before a step, the paper's gamma = S_churn / number of steps; 0 is
            deterministic.
        churn_low: smallest value of sigma/alpha that is raised (the paper's S_tmin).
        churn_high: largest value of sigma/alpha that is raised (the paper's S_tmax).
        churn_noise: standard deviation of the added noise, in units of the exact amount (the paper's S_noise, 1 to
            1.007).
    """

    churn: Annotated[float, Range(least=0, most=2**0.5 - 1, words="lies in [0, sqrt(2) - 1]")] = 0.0
    churn_low: Annotated[float, Range(least=0)] = 0.0
    churn_high: Annotated[float, Range(least=0, finite=False)] = float("inf")
    churn_noise: Annotated[float, Range(above=0, words="is a standard deviation above 0")] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.churn_low > self.churn_high:
            raise ValueError(
                f"heun raises the noise between two levels of sigma/alpha, churn_low <= churn_high; got "
                f"{self.churn_low} and {self.churn_high}."
            )

    @property
    def order(self) -> int | None:
        return None if self.churn else 2

    @property
    def evaluations(self) -> int:
        return 2

    def update_fn(self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        process = model.process
        if self.churn == 0:
            x = heun_between(model, x, t, s)
            return Step(x, x)
        up = coefficients(x, self._up, process, t)
        x = torch.addcmul(up.scale * x, up.std, noise.normal(x.shape))
        down = coefficients(x, self._down, process, t, s)
        x = heun_step(model, x, tabulated_time(self._raised, process, t), s, down)
        return Step(x, x)

    def _raised(self, process: GaussianProcess, t: Tensor) -> Tensor:
        level = process.marginal(t)
        ratio = level.sigma / level.alpha
        raised = process.time_of(ratio * (1 + self.churn))
        inside = (ratio >= self.churn_low) & (ratio <= self.churn_high)
        # Not above the prior, and never below t, where rounding to a chain's levels might lead.
        return torch.where(inside, raised, t).clamp(max=process.start).maximum(t)

    def _up(self, process: GaussianProcess, t: Tensor) -> Transition:
        forward = process.transition(self._raised(process, t), t)
        return Transition(forward.scale, self.churn_noise * forward.std)

    def _down(self, process: GaussianProcess, t: Tensor, s: Tensor) -> EulerWeights:
        return euler_weights(process, self._raised(process, t), s)
