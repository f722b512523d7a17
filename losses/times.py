"""Distributions of the times to which a training batch is noised."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar, Generic

from torch import Tensor

from losses.learned import Learned
from losses.of_samples import Losses
from sde_lib.base import SDE, Process
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.needs import NeededProcess, declare_needs
from sde_lib.noise import Noise
from sde_lib.settings import check_settings


class TimeSampler(abc.ABC, Generic[NeededProcess]):
    """A distribution of training times. ``needs`` is the kind of process that it works with.

    Attributes:
        learned: what of it is trained by the gradient, see ``lesson``; None: nothing.
    """

    needs: ClassVar[type] = Process
    learned: Learned | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        declare_needs(cls)

    def __post_init__(self) -> None:
        check_settings(self)

    def check(self, process: NeededProcess) -> None:
        """Refuse a process at whose times it cannot train.

        Raises:
            ValueError: such a process; the message says what to change.
        """

    @abc.abstractmethod
    def sample(self, process: NeededProcess, noise: Noise) -> Tensor:
        """A time for each of the noise's samples, (B,)."""

    def weights(self, t: Tensor) -> Tensor | None:
        """Importance weights of losses at ``t`` with respect to uniform times, (B,); None: all are one."""
        return None

    def lesson(self, t: Tensor, losses: Tensor) -> Tensor | None:
        """What ``learned`` is trained by, (B,), given weighted losses at ``t``; None: nothing is."""
        return None

    def weighted(self, t: Tensor, values: Tensor) -> Losses:
        """Losses at ``t`` with their importance weights, and the gradient of ``lesson`` without its value."""
        weights = self.weights(t)
        if weights is not None:
            weights = weights.to(values.dtype)
            values = values * weights
        lesson = self.lesson(t, values)
        return Losses(values if lesson is None else values + (lesson - lesson.detach()), t, weights)

    def observe(self, t: Tensor, losses: Tensor) -> None:
        """Learn from the unweighted losses of a training step at times ``t``, both (B,), all finite."""

    @property
    def learns(self) -> bool:
        """Whether ``observe`` does anything."""
        return type(self).observe is not TimeSampler.observe

    def state_dict(self) -> dict[str, Tensor]:
        """The state that ``observe`` has changed, for a checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the state of a checkpoint.

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
class UniformTimes(TimeSampler[SDE]):
    """Uniform on [t_min, T], each sample on its own."""

    def sample(self, process: SDE, noise: Noise) -> Tensor:
        u = noise.uniform((len(noise), 1))[:, 0].double()
        return process.t_min + u * (process.T - process.t_min)


@dataclass(frozen=True)
class StratifiedTimes(TimeSampler[SDE]):
    """Uniform on [t_min, T], one sample in each of B equal intervals: the loss's variance is lower."""

    def sample(self, process: SDE, noise: Noise) -> Tensor:
        return process.t_min + noise.strata() * (process.T - process.t_min)


@dataclass(frozen=True)
class UniformLevels(TimeSampler[DiscreteDiffusion]):
    """Uniform on a chain's levels."""

    def sample(self, process: DiscreteDiffusion, noise: Noise) -> Tensor:
        return noise.integers(process.num_levels)


@dataclass(frozen=True)
class StratifiedLevels(TimeSampler[DiscreteDiffusion]):
    """Uniform on a chain's levels, one sample in each of B equal parts of them."""

    def sample(self, process: DiscreteDiffusion, noise: Noise) -> Tensor:
        return (noise.strata() * process.num_levels).long().clamp(max=process.num_levels - 1)
