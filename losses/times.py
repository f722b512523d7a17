"""Which times a training batch is noised to."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sde_lib.base import SDE, Process
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.noise import Noise


class TimeSampler(abc.ABC):
    """A distribution of times. ``needs`` is what the process must be able to do."""

    needs: ClassVar[type] = Process

    @abc.abstractmethod
    def sample(self, process: Process, noise: Noise) -> Tensor:
        """A time for each of the noise's samples, (B,)."""


@dataclass(frozen=True)
class UniformTimes(TimeSampler):
    """Uniform on [t_min, T], each sample on its own."""

    needs: ClassVar[type] = SDE

    def sample(self, process: Process, noise: Noise) -> Tensor:
        sde: SDE = process  # type: ignore[assignment]
        u = noise.uniform((len(noise), 1))[:, 0].double()
        return sde.t_min + u * (sde.T - sde.t_min)


@dataclass(frozen=True)
class StratifiedTimes(TimeSampler):
    """Uniform on [t_min, T], one sample in each of B equal intervals: the loss's variance is lower."""

    needs: ClassVar[type] = SDE

    def sample(self, process: Process, noise: Noise) -> Tensor:
        sde: SDE = process  # type: ignore[assignment]
        batch = len(noise)
        u = noise.uniform((batch, 1))[:, 0].double()
        u = (torch.arange(batch, device=noise.device) + u) / batch
        return sde.t_min + u * (sde.T - sde.t_min)


@dataclass(frozen=True)
class UniformLevels(TimeSampler):
    """Uniform on a chain's levels."""

    needs: ClassVar[type] = DiscreteDiffusion

    def sample(self, process: Process, noise: Noise) -> Tensor:
        chain: DiscreteDiffusion = process  # type: ignore[assignment]
        return noise.integers(chain.num_levels)
