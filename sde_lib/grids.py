"""Time grids: where a sampler evaluates the model, from the prior's time down to ``t_end``.

A grid of ``num_steps`` times is ``num_steps`` evaluations of a one-evaluation predictor: ``num_steps - 1``
steps between the times, and the closing estimate of clean data from the last. On a chain the times are
indices, rounded; a grid finer than the chain allows is refused, never thinned. ``InterpolatedChain`` has the
same levels and every real index between them.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Generic, Literal

import numpy as np
import torch
from torch import Tensor

from sde_lib.base import SDE, GaussianProcess, Process
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.needs import NeededProcess, declare_needs
from sde_lib.registry import Registry
from sde_lib.settings import Range, check_settings


class Grid(abc.ABC, Generic[NeededProcess]):
    """A rule that places times. ``needs`` is what the process must be able to do."""

    needs: ClassVar[type] = Process

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        declare_needs(cls)

    def __post_init__(self) -> None:
        check_settings(self)

    def first(self, process: NeededProcess) -> float:
        """The time that comes first: that of the prior."""
        return process.start

    @abc.abstractmethod
    def place(self, process: NeededProcess, u: Tensor) -> Tensor:
        """Times for ``u`` rising from 0 (the first) to 1 (``t_end``); real-valued also on a chain."""

    def times(self, process: NeededProcess, num_steps: int) -> Tensor:
        """The grid: (num_steps,), strictly falling, float64 or (chain) int64, on the device of the process.

        Raises:
            ValueError: fewer than one step, or more steps than a chain has levels to put them on.
        """
        if num_steps < 1:
            raise ValueError(f"a sampler takes at least 1 step, got {num_steps}.")
        times = self.place(process, _even(num_steps, process.device))
        times[0] = self.first(process)
        if num_steps > 1:
            times[-1] = process.t_end
        return distinct(process.time(times), type(self).__name__)


def _even(count: int, device: torch.device) -> Tensor:
    """``count`` numbers evenly from 0 to 1."""
    return torch.linspace(0, 1, count, dtype=torch.float64, device=device)


def distinct(times: Tensor, name: str) -> Tensor:
    """The times, if they fall strictly.

    Raises:
        ValueError: they do not.
    """
    if bool((times.diff() >= 0).any()):
        raise ValueError(
            f"{len(times)} steps of the {name} grid do not fall on distinct levels of this process; "
            f"take fewer steps or the uniform grid."
        )
    return times


class LevelGrid(Grid[GaussianProcess]):
    """A grid that is placed by log(sigma/alpha), and so begins where that is finite."""

    def first(self, process: GaussianProcess) -> float:
        """The prior's time, unless alpha is 0 there."""
        return process.signal_start

    def ends(self, process: GaussianProcess) -> Tensor:
        """log(sigma/alpha) of the first time and of ``t_end``, (2,)."""
        return process.marginal(process.time([process.signal_start, process.t_end])).log_snr / -2


register_grid: Registry[Grid] = Registry("time grid")


@register_grid
@dataclass(frozen=True)
class Uniform(Grid[Process]):
    """Equal steps in t (score_sde's ``linspace(T, eps, N)``) or in the index."""

    def place(self, process: Process, u: Tensor) -> Tensor:
        return process.start + u * (process.t_end - process.start)


@register_grid
@dataclass(frozen=True)
class Quadratic(Grid[Process]):
    """Equal steps in sqrt(t): denser near clean data (Song et al. 2021, DDIM, appendix D.2)."""

    def place(self, process: Process, u: Tensor) -> Tensor:
        root: Tensor = process.start**0.5 + u * (process.t_end**0.5 - process.start**0.5)
        return root**2


@register_grid(name="log_snr")
@dataclass(frozen=True)
class LogSNR(LevelGrid):
    """Equal steps in log(sigma/alpha) (Lu et al. 2022, section 3.2)."""

    def place(self, process: GaussianProcess, u: Tensor) -> Tensor:
        ends = self.ends(process)
        return process.time_of((ends[0] + u * (ends[1] - ends[0])).exp())


@register_grid
@dataclass(frozen=True)
class Karras(LevelGrid):
    """Equal steps in (sigma/alpha)^(1/rho) (Karras et al. 2022, eq. 5).

    Args:
        rho: the exponent, 7 in the paper; the larger, the denser are the steps near clean data.
    """

    rho: Annotated[float, Range(above=0)] = 7.0

    def place(self, process: GaussianProcess, u: Tensor) -> Tensor:
        ends = (self.ends(process) / self.rho).exp()
        return process.time_of((ends[0] + u * (ends[1] - ends[0])) ** self.rho)


@register_grid
@dataclass(frozen=True)
class Cosine(Grid[GaussianProcess]):
    """Equal steps in the angle atan(sigma/alpha): the levels of a cosine schedule (Nichol & Dhariwal 2021,
    eq. 17, without its offset), whatever the process."""

    def place(self, process: GaussianProcess, u: Tensor) -> Tensor:
        level = process.marginal(process.time([process.start, process.t_end]))
        ends = torch.atan2(level.sigma, level.alpha)
        return process.time_of(torch.tan(ends[0] + u * (ends[1] - ends[0])))


@register_grid
@dataclass(frozen=True)
class Blend(LevelGrid):
    """A share of the steps about one level, the others equal in log(sigma/alpha).

    The density of steps in l = log(sigma/alpha) is

        (1 - share) / (l_start - l_end) + share sech((l - log level) / width) / norm:

    ``log_snr`` at share 0, ``cosine`` at share 1, level 1 and width 1. It is said in noise levels alone, so that one
    setting places alike under every process. On a chain, where two steps would share a level, the later one takes the
    next.

    Args:
        share: of the steps that lie about the level.
        level: sigma/alpha where those are densest.
        width: of their density, in units of log(sigma/alpha).
    """

    share: Annotated[float, Range(least=0, most=1)] = 0.5
    level: Annotated[float, Range(above=0)] = 1.0
    width: Annotated[float, Range(above=0)] = 1.0

    def place(self, process: GaussianProcess, u: Tensor) -> Tensor:
        ends = self.ends(process)
        far, near = self._passed(ends)

        def share(log_ratio: Tensor) -> Tensor:
            """Of the steps that lie above."""
            even = (ends[0] - log_ratio) / (ends[0] - ends[1])
            return torch.lerp(even, (far - self._passed(log_ratio)) / (far - near), self.share)

        above, below = ends[0].expand_as(u), ends[1].expand_as(u)
        for _ in range(64):
            middle = (above + below) / 2
            reached = share(middle) >= u
            above, below = torch.where(reached, above, middle), torch.where(reached, middle, below)
        return process.time_of(((above + below) / 2).exp())

    def _passed(self, log_ratio: Tensor) -> Tensor:
        """The integral of sech((l - log level) / width), up to constants."""
        return torch.atan(torch.tanh((log_ratio - math.log(self.level)) / (2 * self.width)))

    def times(self, process: GaussianProcess, num_steps: int) -> Tensor:
        if process.num_levels is None or num_steps < 2:
            return super().times(process, num_steps)
        levels = int(self.first(process)) + 1
        if num_steps > levels:
            return super().times(process, num_steps)
        placed = process.time(self.place(process, _even(num_steps, process.device)))
        placed[0], placed[-1] = self.first(process), process.t_end
        k = torch.arange(num_steps, device=placed.device)
        # From the clean end up, one level apart or more; then down from the noisy end, where there is no more room.
        apart = torch.cummax(placed.flip(0) - k, 0).values + k
        return torch.minimum(apart, levels - num_steps + k).flip(0)


@register_grid
@dataclass(frozen=True)
class Density(LevelGrid):
    """Steps in log(sigma/alpha) whose density has a piecewise linear logarithm: what ``samplers.pilot``
    optimises.

    Args:
        log_density: logarithm of the density of steps, up to a constant, at two or more equally spaced values of
            log(sigma/alpha) from that of the prior to that of ``t_end``; zeros are the ``log_snr`` grid.
    """

    log_density: Sequence[float] = (0.0, 0.0)

    @classmethod
    def like(cls, grid: Grid[GaussianProcess], process: GaussianProcess, levels: int) -> Density:
        """The density of another grid's steps, read at ``levels`` levels; the first value is zero."""
        placed = grid.place(process, _even(4097, process.device))
        placed = placed.clamp(max=process.signal_start)
        logs = -process.marginal(process.time(placed)).log_snr / 2
        # A chain's times fall in runs on one level each: a run counts as its middle.
        position, first, counts = np.unique(
            ((logs - logs[0]) / (logs[-1] - logs[0])).cpu().numpy(), return_index=True, return_counts=True
        )
        share = (first + (counts - 1) / 2) / (len(placed) - 1)
        reach = 1 / (8 * (levels - 1))
        knots = np.linspace(0, 1, levels)
        low, high = (knots - reach).clip(0), (knots + reach).clip(max=1)
        passed = np.interp(high, position, share) - np.interp(low, position, share)
        values = np.log(passed / (high - low))
        return cls(tuple((values - values[0]).tolist()))

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.log_density) < 2:
            raise ValueError(f"the density grid needs two values or more, got {tuple(self.log_density)}.")

    def place(self, process: GaussianProcess, u: Tensor) -> Tensor:
        values = torch.as_tensor(self.log_density, dtype=torch.float64, device=u.device)
        pieces = len(values) - 1
        fine = _even(128 * pieces + 1, u.device)
        knot = (fine * pieces).long().clamp(max=pieces - 1)
        density = torch.lerp(values[knot], values[knot + 1], fine * pieces - knot).exp()
        share = torch.cat([u.new_zeros(1), torch.cumsum((density[1:] + density[:-1]) / 2, 0)])
        share = share / share[-1]
        above = torch.searchsorted(share, u).clamp(1, len(fine) - 1)
        part = (u - share[above - 1]) / (share[above] - share[above - 1])
        position = torch.lerp(fine[above - 1], fine[above], part)
        ends = self.ends(process)
        return process.time_of((ends[0] + position * (ends[1] - ends[0])).exp())


@register_grid(name="time_shift")
@dataclass(frozen=True)
class TimeShift(Grid[SDE]):
    """t = T shift r / (1 + (shift - 1) r) for equal steps in t before the shift, r = t / T (Esser et al. 2024, eq. 23).

    On the straight path of ``flow`` sigma/alpha is multiplied by ``shift``. Images of n times as many pixels hide as
    much at sqrt(n) times the noise: shift is the square root of the ratio of their numbers of pixels.

    Args:
        shift: more than 1 takes more of the steps at noisy times, less than 1 at clean ones; 1 is ``uniform``.
    """

    shift: Annotated[float, Range(above=0)] = 3.0

    def place(self, process: SDE, u: Tensor) -> Tensor:
        end = process.t_end / process.T
        end = end / (self.shift - (self.shift - 1) * end)  # which is shifted to t_end
        r = 1 + u * (end - 1)
        return process.T * self.shift * r / (1 + (self.shift - 1) * r)


@register_grid
@dataclass(frozen=True)
class Explicit(Grid[Process]):
    """The given times, as they are: the first is where sampling starts and the last where it ends.

    Args:
        listed_times: the times, falling; indices for a chain.
    """

    listed_times: Sequence[float] = ()

    def place(self, process: Process, u: Tensor) -> Tensor:
        return torch.as_tensor(list(self.listed_times), dtype=torch.float64, device=u.device)

    def times(self, process: Process, num_steps: int) -> Tensor:
        if len(self.listed_times) != num_steps:
            raise ValueError(
                f"the explicit grid has {len(self.listed_times)} values but num_steps is {num_steps}; make them agree."
            )
        values = self.place(process, _even(0, process.device))
        if bool((values > process.start).any()) or bool((values <= process.clean).any()):
            raise ValueError(
                f"the explicit grid's times lie above {process.clean} and up to {process.start}."
            )
        return distinct(process.time(values), "explicit")


Spacing = Literal["linspace", "leading", "trailing"]


@register_grid
@dataclass(frozen=True)
class Respaced(Grid[DiscreteDiffusion]):
    """Some of a chain's levels, chosen by index as other code bases do, with a number of steps for each section.

    Args:
        sections: number of steps in each of equal sections of the chain, the cleanest first (Nichol & Dhariwal 2021,
            section 4); empty: one section with all steps.
        spacing: how n steps are placed in a section of M levels: ``linspace`` from its first level to its last,
            ``leading`` at k floor(M/n), ``trailing`` at the end of each n-th part, rounded.
        steps_offset: added to every level; diffusers has 1 with some ``leading`` schedules.
    """

    sections: Sequence[Annotated[int, Range(least=1)]] = ()
    spacing: Spacing = "linspace"
    steps_offset: Annotated[int, Range(least=0)] = 0

    def place(self, process: DiscreteDiffusion, u: Tensor) -> Tensor:
        counts = tuple(self.sections) or (len(u),)
        # The first sections take the levels that do not divide.
        size, rest = divmod(process.num_levels, len(counts))
        first, levels = 0, []
        for number, count in enumerate(counts):
            length = size + (number < rest)
            if count > length:
                raise ValueError(f"section {number} has {length} levels, fewer than its {count} steps.")
            levels.append(first + self._within(length, count).to(u.device))
            first += length
        placed = torch.cat(levels).flip(0) + self.steps_offset
        if float(placed[0]) > process.start:
            raise ValueError(
                f"steps_offset={self.steps_offset} puts the first step at level {int(placed[0])} of a chain whose last "
                f"is {int(process.start)}: take 0, or fewer steps by spacing='leading'."
            )
        return placed

    def _within(self, length: int, count: int) -> Tensor:
        k = torch.arange(count, dtype=torch.float64)
        if self.spacing == "linspace":
            return torch.round(k * ((length - 1) / max(count - 1, 1)))
        if self.spacing == "leading":
            return k * (length // count)
        return torch.round((k + 1) * (length / count)) - 1

    def times(self, process: DiscreteDiffusion, num_steps: int) -> Tensor:
        if self.sections and sum(self.sections) != num_steps:
            raise ValueError(
                f"the sections {tuple(self.sections)} are {sum(self.sections)} steps but num_steps is {num_steps}; "
                f"make them agree."
            )
        times = self.place(process, _even(num_steps, process.device))
        return distinct(process.time(times), "respaced")
