"""RePaint: go back up by the forward process and come down again, so that the unknown part meets the known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor

from samplers.base import Advance, GaussianModel, Memory, Predictor, Step
from samplers.pc import PCSampler
from sde_lib.base import GaussianProcess, Transition, coefficients
from sde_lib.noise import Noise
from sde_lib.settings import Range


def repaint(
    sampler: PCSampler,
    *,
    jump_length: Annotated[int, Range(least=1)] = 10,
    resamplings: Annotated[int, Range(least=1)] = 10,
    above: Annotated[float, Range(least=0)] = 0.0,
) -> PCSampler:
    """``sampler`` with RePaint's schedule (Lugmayr et al. 2022, section 4.2).

    Every ``jump_length`` times of its grid, counted from the last, the state goes ``jump_length`` times back
    up by the forward process, x_t = scale x_s + std z, and down again, until each stretch has been passed
    ``resamplings`` times. The constraints act after every one of these steps. Evaluations grow accordingly.

    Args:
        sampler: with a ``Replacement`` among its constraints.
        jump_length: number of steps of the grid in a jump, fewer than the grid has times.
        resamplings: how often each stretch is passed; 1: no jumps.
        above: sigma/alpha of the cleanest state to jump from. Of a noisy measurement give its noise_std over
            the square root of the operator's gain: below, ``Replacement`` no longer acts, and states that
            came and went there would forget the measurement.

    Raises:
        ValueError: a setting out of range, or a predictor that encodes.
    """
    process = sampler.model.process
    if not isinstance(process, GaussianProcess):
        raise ValueError(
            f"RePaint needs a process with a Gaussian marginal; {type(process).__name__} has none."
        )
    level = process.marginal(sampler.times.to(process.device))
    bottom = int((level.sigma / level.alpha >= above).sum()) - 1
    times = resampled(sampler.times, jump_length=jump_length, resamplings=resamplings, bottom=bottom)
    return replace(sampler, predictor=Resampling(sampler.predictor), times=times)


def resampled(times: Tensor, *, jump_length: int, resamplings: int, bottom: int | None = None) -> Tensor:
    """RePaint's walk over a falling grid, as the times it visits; ``bottom`` is the last place to jump from."""
    if not 1 <= jump_length < len(times) or resamplings < 1:
        raise ValueError(
            f"RePaint needs 1 <= jump_length < {len(times)} (the number of times) and resamplings of at least 1; "
            f"got {jump_length} and {resamplings}."
        )
    last = len(times) - 1
    lowest = last if bottom is None else bottom
    left = dict.fromkeys(range(lowest, jump_length - 1, -jump_length), resamplings - 1)
    at, walk = 0, [0]
    while at < last:
        at += 1
        walk.append(at)
        if left.get(at, 0):
            left[at] -= 1
            at -= jump_length
            walk.append(at)
    return times[walk]


def _up(process: GaussianProcess, t: Tensor, s: Tensor) -> Transition:
    return process.transition(s, t)


@dataclass(frozen=True)
class Renoise(Predictor[GaussianProcess]):
    """x_s = scale x_t + std z, s noisier than t: the forward process, without an evaluation."""

    def advance(
        self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> Advance:
        # What a multistep predictor remembers belongs to the trajectory that ends here.
        return Advance(self.update_fn(model, x, t, s, noise), Memory())

    def update_fn(self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        up = coefficients(x, _up, model.process, t, s)
        mean = up.scale * x
        return Step(torch.addcmul(mean, up.std, noise.normal(x.shape)), mean)


@dataclass(frozen=True)
class Resampling(Predictor[GaussianProcess]):
    """``inner`` where times fall, the forward process where they rise.

    Args:
        inner: a predictor that goes from noise to data.
    """

    inner: Predictor[GaussianProcess]

    @property
    def at_pure_noise(self) -> bool:
        return self.inner.at_pure_noise

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inner.encodes:
            raise ValueError(
                f"RePaint resamples with a predictor from noise to data; {type(self.inner).__name__} encodes."
            )

    def check_times(self, times: Tensor) -> None:
        """Any walk down that goes back up by whole steps of its own grid."""
        grid = times.unique().flip(0)
        place = torch.searchsorted(-grid, -times)
        steps = place.diff()
        if not (bool(((steps == 1) | (steps < 0)).all()) and bool(place[-1] == len(grid) - 1)):
            raise ValueError(
                "RePaint's times fall one step of their grid at a time, may jump up, and end at the last; "
                "make them with samplers.constraints.repaint."
            )

    def plan(self, process: GaussianProcess, times: Tensor) -> Sequence[Predictor[GaussianProcess]]:
        """Each step down is planned as in the grid without jumps, each time it is made."""
        grid = times.unique().flip(0)
        self.inner.check_times(grid)
        planned = self.inner.plan(process, grid)
        place = torch.searchsorted(-grid, -times).tolist()
        return [planned[a] if b > a else Renoise() for a, b in zip(place[:-1], place[1:], strict=True)]

    def update_fn(self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        """One step down by ``inner``; the loop runs the planned ones."""
        return self.inner.update_fn(model, x, t, s, noise)
