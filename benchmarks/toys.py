"""The targets of the sampler benchmarks: exact scores under the DDPM linear schedule, in 64 dimensions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models.base import Network
from models.exact.mixtures import GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from sde_lib import DiscreteDiffusion, Noise
from sde_lib.chain_sde import InterpolatedChain
from sde_lib.schedules import linear_betas

DIM, STD, MODE_STD, MODES = 64, 0.25, 0.05, 10
PROCESS = InterpolatedChain(DiscreteDiffusion.ddpm(linear_betas(1000)))


def mode_means() -> Tensor:
    """Ten modes, uniform in [-1, 1]^64."""
    return 2 * Noise(20, range(MODES), dtype=torch.float64).uniform((MODES, DIM)) - 1


class NarrowMixture(Network):
    """E[x_0 | x_t] of ten equal modes of one width, as two matrix products: several times faster than the
    general ``GaussianMixtureScore``, and equal to it to rounding."""

    means: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("means", mode_means(), persistent=False)

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        level = PROCESS.marginal(labels)
        alpha, ratio2 = level.alpha[:, None], (level.sigma / level.alpha)[:, None] ** 2
        y, variance = x / alpha, MODE_STD**2 + ratio2
        shares = torch.softmax((y @ self.means.T - self.means.square().sum(1) / 2) / variance, 1)
        return (shares @ self.means) * (ratio2 / variance) + y * (MODE_STD**2 / variance)


def model(target: str) -> NoiseModel:
    """``gaussian``: N(0, 0.25^2 I). ``mixture``: ten equal modes of standard deviation 0.05."""
    if target == "gaussian":
        return NoiseModel(GaussianScore(process=PROCESS, mean=0.0, std=STD), PROCESS, Time(PROCESS), "score")
    return NoiseModel(NarrowMixture(), PROCESS, Time(PROCESS), "x0")


def prior(count: int, seed: int) -> Tensor:
    return Noise(seed, range(count), dtype=torch.float64).normal((count, DIM))
