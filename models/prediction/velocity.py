"""The velocity of flow matching, u = d x_t / dt = alpha' x0 + sigma' eps, seen as Salimans & Ho's v.

Its direction is that of our time, from data to noise. Both are affine in x0 and eps, so that with r^2 = alpha^2 +
sigma^2 and w = alpha sigma' - alpha' sigma

    v = (r u - r' x_t) / w,    r' = (alpha alpha' + sigma sigma') / r,

which has a value at both ends of the path, where x0 or eps has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.prediction.time_encoding import TimeEncoding
from sde_lib.base import Marginal
from sde_lib.rates import PathRates


@dataclass(frozen=True)
class VelocityWeights:
    """v = of_velocity u + of_x x_t; both shaped like the time."""

    of_velocity: Tensor
    of_x: Tensor


def velocity_weights(level: Marginal, rates: PathRates) -> VelocityWeights:
    """Of u, from alpha and sigma and their derivatives in time."""
    r = torch.hypot(level.alpha, level.sigma)
    turning = level.alpha * rates.sigma - rates.alpha * level.sigma
    growth = (level.alpha * rates.alpha + level.sigma * rates.sigma) / r
    return VelocityWeights(r / turning, -growth / turning)


def _forwards(time: TimeEncoding, t: Tensor) -> VelocityWeights:
    level, rates = time.marginal(t), time.path_rates(t)
    assert level is not None, "checked when the model is built"
    assert rates is not None, "checked when the model is built"
    return velocity_weights(level, rates)


def _backwards(time: TimeEncoding, t: Tensor) -> VelocityWeights:
    weights = _forwards(time, t)
    return VelocityWeights(-weights.of_velocity, weights.of_x)


VELOCITIES = {"velocity": _forwards, "reversed_velocity": _backwards}
"""What a network may output of it: u, or -u, which points from noise to data. (time, t) -> weights."""
