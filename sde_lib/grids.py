"""Time grids: where a sampler evaluates the model, from the prior's time down to ``t_end``.

A grid of ``num_steps`` times is ``num_steps`` evaluations of a one-evaluation predictor: ``num_steps - 1``
steps between the times, and the closing estimate of clean data from the last. On a chain the times are
indices, rounded; a grid finer than the chain allows is refused, never thinned.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sde_lib.base import GaussianProcess, Process
from sde_lib.registry import Registry


class Grid(abc.ABC):
    """A rule that places times. ``needs`` is what the process must be able to do."""

    needs: ClassVar[type] = Process

    @abc.abstractmethod
    def place(self, process: Process, u: Tensor) -> Tensor:
        """Times for ``u`` rising from 0 (``start``) to 1 (``t_end``); real-valued also on a chain."""

    def times(self, process: Process, num_steps: int) -> Tensor:
        """The grid: (num_steps,), strictly falling, float64 or (chain) int64.

        Raises:
            ValueError: fewer than one step, or more steps than a chain has levels to put them on.
        """
        if num_steps < 1:
            raise ValueError(f"a sampler takes at least 1 step, got {num_steps}.")
        times = self.place(process, torch.linspace(0, 1, num_steps, dtype=torch.float64))
        times[0] = process.start
        if num_steps > 1:
            times[-1] = process.t_end
        times = process.time(times)
        if bool((times.diff() >= 0).any()):
            raise ValueError(
                f"{num_steps} steps of the {type(self).__name__} grid do not fall on distinct levels of this "
                f"process; take fewer steps or the uniform grid."
            )
        return times


register_grid: Registry[Grid] = Registry("time grid")


@register_grid
@dataclass(frozen=True)
class Uniform(Grid):
    """Equal steps in t (the ancestor's ``linspace(T, eps, N)``) or in the index."""

    def place(self, process: Process, u: Tensor) -> Tensor:
        return process.start + u * (process.t_end - process.start)


@register_grid
@dataclass(frozen=True)
class Quadratic(Grid):
    """Equal steps in sqrt(t): denser near clean data (Song et al. 2021, DDIM, appendix D.2)."""

    def place(self, process: Process, u: Tensor) -> Tensor:
        return (process.start**0.5 + u * (process.t_end**0.5 - process.start**0.5)) ** 2


@register_grid(name="log_snr")
@dataclass(frozen=True)
class LogSNR(Grid):
    """Equal steps in log(sigma/alpha) (Lu et al. 2022, section 3.2)."""

    needs: ClassVar[type] = GaussianProcess

    def place(self, process: GaussianProcess, u: Tensor) -> Tensor:  # type: ignore[override]
        ends = process.marginal(process.time([process.start, process.t_end])).log_snr / -2
        return process.time_of((ends[0] + u * (ends[1] - ends[0])).exp())


@register_grid
@dataclass(frozen=True)
class Karras(Grid):
    """Equal steps in (sigma/alpha)^(1/rho) (Karras et al. 2022, eq. 5).

    Args:
        rho: 7 in the paper; larger is denser near clean data.
    """

    needs: ClassVar[type] = GaussianProcess
    rho: float = 7.0

    def place(self, process: GaussianProcess, u: Tensor) -> Tensor:  # type: ignore[override]
        ends = (process.marginal(process.time([process.start, process.t_end])).log_snr / (-2 * self.rho)).exp()
        return process.time_of((ends[0] + u * (ends[1] - ends[0])) ** self.rho)
