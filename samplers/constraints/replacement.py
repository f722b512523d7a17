"""Replacement: the measured part of the state is the measurement, noised as the state is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from samplers.base import Constraint, Step
from samplers.operators.base import LinearOperator, NoiseStd, check_measurement
from sde_lib.base import GaussianProcess, Marginal, coefficients
from sde_lib.noise import Noise


@dataclass(frozen=True, eq=False)
class Replacement(Constraint[GaussianProcess]):
    """x <- x - A^+ (A x - y_t), y_t = alpha y + sigma A z (Song et al. 2021, appendix I.2-I.3).

    With a mask this is inpainting, with ``Grey`` colorization. ``x`` and ``mean`` are each projected from
    themselves, ``mean`` onto alpha y without the fresh noise. Clean data, at the end, measure ``y`` exactly.

    A noisy y is a state's measured part at the noise alpha noise_std / sqrt(g), A A^T = g, so y_t gets the
    rest, sigma^2 - alpha^2 noise_std^2 / g, and once the state is cleaner than the measurement it is left
    alone: the sampler denoises what it has.

    It is approximate: y_t is drawn afresh each time, in ignorance of the rest of the state. The unmeasured
    part therefore depends on y too weakly, and its mean and correlation with y are biased towards the prior's.

    Args:
        operator: A.
        measurement: y, one of each sample.
        noise_std: of the measurement.

    Raises:
        ValueError: a negative noise; noise with an operator of unequal singular values.
    """

    operator: LinearOperator
    measurement: Tensor
    noise_std: NoiseStd = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise_std and self.operator.gain is None:
            raise ValueError(
                f"replacement counts a measurement's noise only where A A^T is a multiple of the identity, and "
                f"{type(self.operator).__name__}'s is not; set noise_std=0 or wrap the model instead "
                "(PseudoInverseGuidance, MomentMatching)."
            )

    def project(self, step: Step, process: GaussianProcess, t: Tensor, noise: Noise) -> Step:
        x, mean = step.x, step.mean
        z = self.operator.apply(noise.normal(x.shape))
        check_measurement(z.shape, self.measurement)
        level = coefficients(z, self._level, process, t)
        y = level.alpha * self.measurement.to(z.dtype)
        known, known_mean = torch.addcmul(y, level.sigma, z), y
        x, mean = self.operator.replace(x, known), self.operator.replace(mean, known_mean)
        if self.noise_std:
            noisier = coefficients(x, self._is_noisier, process, t)
            x, mean = torch.where(noisier, x, step.x), torch.where(noisier, mean, step.mean)
        return Step(x, mean)

    def _spare(self, process: GaussianProcess, t: Tensor) -> Tensor:
        level = process.marginal(t)
        if not self.noise_std:
            return level.sigma**2
        return level.sigma**2 - (level.alpha * self.noise_std) ** 2 / (self.operator.gain or 1.0)

    def _level(self, process: GaussianProcess, t: Tensor) -> Marginal:
        """Of the measurement in the state, without its own noise."""
        return Marginal(process.marginal(t).alpha, self._spare(process, t).clamp(min=0).sqrt())

    def _is_noisier(self, process: GaussianProcess, t: Tensor) -> Tensor:
        """Whether the state is noisier than the measurement."""
        return self._spare(process, t) >= 0
