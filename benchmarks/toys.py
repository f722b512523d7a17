"""The targets of the sampler benchmarks: exact scores under the DDPM linear schedule, in 64 dimensions."""

from __future__ import annotations

import torch
from torch import Tensor

from models.analytic import GaussianMixtureScore, GaussianScore
from models.base import Network
from models.noise_model import NoiseModel
from models.time_encoding import Time
from sde_lib import DiscreteDiffusion, Noise
from sde_lib.chain_sde import InterpolatedChain
from sde_lib.schedules import linear_betas

DIM, STD, MODE_STD, MODES = 64, 0.25, 0.05, 10
PROCESS = InterpolatedChain(DiscreteDiffusion.ddpm(linear_betas(1000)))


def mode_means() -> Tensor:
    """Ten modes, uniform in [-1, 1]^64."""
    return 2 * Noise(20, range(MODES), dtype=torch.float64).uniform((MODES, DIM)) - 1


def network(target: str) -> Network:
    """``gaussian``: N(0, 0.25^2 I). ``mixture``: ten equal modes of standard deviation 0.05."""
    if target == "gaussian":
        return GaussianScore(process=PROCESS, mean=0.0, std=STD)
    return GaussianMixtureScore(process=PROCESS, means=mode_means(), stds=MODE_STD)


def model(target: str) -> NoiseModel:
    return NoiseModel(network(target), PROCESS, Time(PROCESS), "score")


def prior(count: int, seed: int) -> Tensor:
    return Noise(seed, range(count), dtype=torch.float64).normal((count, DIM))
