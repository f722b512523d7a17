"""Diffusion posterior sampling."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from models.prediction.noise_model import Model
from samplers.inverse.base import Estimate, PosteriorModel, register_posterior
from samplers.operators.base import Measurement, NoiseStd
from sde_lib.base import expand
from sde_lib.settings import Range, checked


@register_posterior(name="dps")
class DPS(PosteriorModel):
    """p(y | x_t) ~ p(y | x_0 = E[x_0 | x_t]) (Chung et al. 2023, DPS): grad log p = -w grad |y - A E[x_0 | x_t]|^2.

    ``likelihood`` takes w = 1 / (2 noise_std^2), as the approximation says. It takes the
    estimate for certain, so the posterior it samples is too narrow and too near to the measurement; and it is
    stiff, with steps that have to be short beside noise_std^2 / (the data's variance).

    ``residual``, theirs, replaces this by a step of a length that one chooses. They shift the state after
    each of ``num_steps`` ancestral steps by -(zeta / |y - A E[x_0 | x_t]|) grad |y - A E[x_0 | x_t]|^2
    (algorithm 1), the norm of each sample. A term d in the score shifts the mean of an ancestral step by
    (alpha_s / alpha_t) std^2 d, std that of the transition s -> t, so the same shift is had with
    w = zeta alpha_t / (alpha_s std^2 |y - A E[x_0 | x_t]|), s = t - 1 / num_steps of the process. On that uniform
    grid it is their algorithm; on others and for other predictors it is the same pull per unit of time.

    Args:
        weight: how the gradient is weighted: ``residual`` is the paper's step size, ``likelihood`` the variance of the
            measurement's noise.
        zeta: with ``residual``, the shift in one step in units of the gradient (the paper's zeta).
        num_steps: with ``residual``, the number of steps from the prior to clean data for which zeta is chosen.

    Raises:
        ValueError: an unknown weight, ``likelihood`` without noise, a setting that is not positive.
    """

    @checked
    def __init__(
        self,
        model: Model,
        operator: Measurement,
        *,
        noise_std: NoiseStd = 0.0,
        weight: Literal["residual", "likelihood"] = "residual",
        zeta: Annotated[float, Range(above=0, words="dps needs a positive zeta; got {value}.")] = 1.0,
        num_steps: Annotated[int, Range(least=1, most=10**6)] = 1000,
    ) -> None:
        super().__init__(model, operator, noise_std=noise_std)
        if weight == "likelihood" and not noise_std:
            raise ValueError(
                "dps with weight='likelihood' divides by noise_std: give it, or take 'residual'."
            )
        self.weight, self.zeta = weight, zeta
        stride = self.process.time([(self.process.start - self.process.clean) / num_steps])
        # A chain has no step shorter than one level.
        self._stride = stride.clamp(min=1).item() if not stride.is_floating_point() else stride.item()

    def likelihood_score(self, estimate: Estimate) -> Tensor:
        """-w grad |r|^2 = 2 w J^T A^T r."""
        toward_y = 2 * estimate.pullback(estimate.operator.adjoint(estimate.residual))
        if self.weight == "likelihood":
            return toward_y / (2 * self.noise_std**2)
        t, clean = estimate.t, self.process.clean
        up = self.process.transition(t, (t - self._stride).clamp(min=clean))
        norm = estimate.residual.flatten(1).norm(dim=1)
        w = self.zeta * up.scale / up.std**2 / norm.double().clamp(min=torch.finfo(norm.dtype).tiny)
        return expand(w, toward_y) * toward_y
