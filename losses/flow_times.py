"""Distributions of times for flow matching (Esser et al. 2024, section 3.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from losses.times import TimeSampler
from sde_lib.base import Process
from sde_lib.noise import Noise
from sde_lib.settings import Range

MOST_MODE = 2 / (math.pi - 2)
"""The largest scale for which ``ModeTimes`` is monotone (Esser et al. 2024, eq. 20)."""


def _time(process: Process, share: Tensor) -> Tensor:
    """The time at a share of that of the prior, of those of training the nearest."""
    return process.time(process.start * share).clamp(*process.trained)


@dataclass(frozen=True)
class LogitNormalTimes(TimeSampler[Process]):
    """log(t / (T - t)) ~ N(logit_mean, logit_std^2) (Esser et al. 2024, eq. 19): middle times most often.

    Training for larger images shifts times as the grid ``time_shift`` does: log(shift) more of the mean is a shift of
    every time. On a chain the nearest level is taken.

    Args:
        logit_mean: of the logit; above 0 for more noise than data.
        logit_std: standard deviation of the logit.
    """

    logit_mean: float = 0.0
    logit_std: Annotated[float, Range(above=0)] = 1.0

    def sample(self, process: Process, noise: Noise) -> Tensor:
        z = noise.normal((len(noise), 1))[:, 0].double()
        return _time(process, torch.sigmoid(self.logit_mean + self.logit_std * z))


@dataclass(frozen=True)
class ModeTimes(TimeSampler[Process]):
    """t = T (1 - u - mode_scale (cos^2(pi u / 2) - 1 + u)) for u uniform on [0, 1] (Esser et al. 2024, eq. 20).

    All times have a density above 0: the middle is likelier for a scale above 0, the ends below 0. On a chain
    the nearest level is taken.

    Args:
        mode_scale: s of the paper; 0 is uniform.
    """

    mode_scale: Annotated[float, Range(least=-1, most=MOST_MODE)] = 1.29

    def sample(self, process: Process, noise: Noise) -> Tensor:
        u = noise.uniform((len(noise), 1))[:, 0].double()
        bent = torch.cos(math.pi / 2 * u).square() - 1 + u
        return _time(process, 1 - u - self.mode_scale * bent)
