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

    def weights(self, t: Tensor) -> Tensor | None:
        """The factors of losses at ``t`` that make their mean that over times drawn uniformly; None: all
        one."""
        return None

    def observe(self, t: Tensor, losses: Tensor) -> None:  # noqa: B027 - most distributions learn nothing
        """Learn from the unweighted losses of a training step at times ``t``, both (B,)."""

    def state_dict(self) -> dict[str, Tensor]:
        """What ``observe`` has learnt, for a checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore.

        Raises:
            ValueError: the state is of another distribution.
        """
        if state.keys() != self.state_dict().keys():
            raise ValueError(
                f"the checkpoint's distribution of times has the state {sorted(state) or 'none'}, and "
                f"{type(self).__name__} wants {sorted(self.state_dict()) or 'none'}; set training.times "
                f"as it was."
            )


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


@dataclass(frozen=True)
class StratifiedLevels(TimeSampler):
    """Uniform on a chain's levels, one sample in each of B equal parts of them."""

    needs: ClassVar[type] = DiscreteDiffusion

    def sample(self, process: Process, noise: Noise) -> Tensor:
        chain: DiscreteDiffusion = process  # type: ignore[assignment]
        batch = len(noise)
        u = (torch.arange(batch, device=noise.device) + noise.uniform((batch, 1))[:, 0].double()) / batch
        return (u * chain.num_levels).long().clamp(max=chain.num_levels - 1)
