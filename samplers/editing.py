"""Editing of given images: inversion to latents, interpolation, and SDEdit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from samplers.base import GaussianModel
from samplers.correctors.none import NoneCorrector
from samplers.pc import PCSampler, SampleResult
from samplers.predictors.ddim import DDIM, ReverseDDIM
from sde_lib.base import Process, expand
from sde_lib.finite import NotFiniteError
from sde_lib.noise import Noise


class Inversion(Protocol):
    """A map from data to latents with its inverse: ``DDIMInversion`` or ``ODESampler``."""

    def encode(self, x: Tensor, **cond: Any) -> SampleResult:
        """Data (B, ...) to states at the prior's time."""

    def decode(self, z: Tensor, **cond: Any) -> SampleResult:
        """States at the prior's time to data."""


@dataclass(frozen=True)
class DDIMInversion:
    """``reverse_ddim`` from the cleanest of ``times`` to the noisiest, and ``ddim`` back (Song et al. 2021, 4.3).

    Data are taken as states at the last time, as by the probability flow, of which both are Euler's method in
    log(sigma/alpha): the error of the round trip is of first order in the step size.

    Args:
        model: predictions of a process with a Gaussian marginal.
        times: falling, from ``sde_lib.grids``; n times are n - 1 evaluations each way.
        noise_removal: close ``decode`` with E[x_0 | x_t], as ADM's code and DIRE's do; the round trip then
            returns a denoised image, however many the steps.
    """

    model: GaussianModel
    times: Tensor
    noise_removal: bool = False

    def __post_init__(self) -> None:
        if len(self.times) < 2:
            raise ValueError(f"an inversion takes at least 2 times, got {len(self.times)}: set more steps.")

    def encode(self, x: Tensor, **cond: Any) -> SampleResult:
        """Data (B, ...) to states at the first of ``times``."""
        return _carry(PCSampler(self.model, ReverseDDIM(), NoneCorrector(), self.times.flip(0)), x, cond)

    def decode(self, z: Tensor, **cond: Any) -> SampleResult:
        """States at the first of ``times`` to data."""
        sampler = PCSampler(self.model, DDIM(), NoneCorrector(), self.times, noise_removal=self.noise_removal)
        return _carry(sampler, z, cond)


def _carry(sampler: PCSampler, x: Tensor, cond: dict[str, Any]) -> SampleResult:
    # Neither direction draws noise.
    return follow(sampler, x, Noise(0, range(len(x)), x.device), **cond)


def follow(sampler: PCSampler, x: Tensor, noise: Noise, **cond: Any) -> SampleResult:
    """From states at the sampler's first time to its result."""
    before = sampler.model.nfe
    for step in sampler.iterate(x, noise, **cond):
        x = step.x
    return SampleResult(x, sampler.model.nfe - before)


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Along the great circle from ``a`` to ``b`` (Shoemake 1985; for latents, DDIM, Song et al. 2021, D.5):

        sin((1 - w) theta) / sin(theta) a + sin(w theta) / sin(theta) b,   theta the angle between them,

    for each sample. Ends of equal norm keep it on the way, so Gaussian latents stay as far out as Gaussian
    latents lie; the mean of two would not. Parallel ends: the straight line, the formula's limit.

    Args:
        a, b: (B, ...).
        share: w of each sample, (B,); 0 is ``a``, 1 is ``b``.

    Raises:
        ValueError: an end is zero, or two ends are opposite: no one great circle joins them.
    """
    u, v = (z.double().flatten(1) for z in (a, b))
    norms = torch.stack([u.norm(dim=1), v.norm(dim=1)])
    u, v = u / norms[0][:, None], v / norms[1][:, None]
    # Exact for small and large angles alike, which arccos is not.
    theta = 2 * torch.atan2((u - v).norm(dim=1), (u + v).norm(dim=1))
    if bool((norms == 0).any()) or bool((theta > torch.pi - 1e-6).any()):
        raise ValueError("slerp needs two ends that are neither zero nor opposite to one another.")
    w = share.double()

    def weight(part: Tensor) -> Tensor:
        """sin(part theta) / sin(theta), which is ``part`` where theta is 0."""
        return part * torch.sinc(part * theta / torch.pi) / torch.sinc(theta / torch.pi)

    return expand(weight(1 - w), a) * a + expand(weight(w), b) * b


@torch.no_grad()
def interpolate(inversion: Inversion, a: Tensor, b: Tensor, shares: Tensor, **cond: Any) -> SampleResult:
    """Decoded latents on the great circles between those of ``a`` and ``b`` (B, ...): (B, len(shares), ...).

    ``nfe`` counts both encodings and the decoding.

    Raises:
        NotFiniteError: an end or a frame is not, as the inversion says; the rows are those of ``a`` and ``b``.
    """
    ends = [inversion.encode(x, **cond) for x in (a, b)]
    latents = torch.stack([slerp(ends[0].x, ends[1].x, w.expand(len(a))) for w in shares], dim=1)
    repeated = {name: value.repeat_interleave(len(shares), 0) for name, value in cond.items()}
    try:
        decoded = inversion.decode(latents.flatten(0, 1), **repeated)
    except NotFiniteError as error:
        raise NotFiniteError(str(error), sorted({row // len(shares) for row in error.rows})) from error
    return SampleResult(decoded.x.unflatten(0, latents.shape[:2]), ends[0].nfe + ends[1].nfe + decoded.nfe)


def intermediate_time(process: Process, strength: float) -> Tensor:
    """The time at ``strength`` of the way from ``t_end`` to the prior's, a chain's rounded; 0-d.

    Raises:
        ValueError: the strength is not in (0, 1].
    """
    if not 0 < strength <= 1:
        raise ValueError(
            f"an edit's strength lies in (0, 1], the share of the way to pure noise; got {strength}."
        )
    return process.time([process.t_end + strength * (process.start - process.t_end)])[0]


def started_at(sampler: PCSampler, time: Tensor) -> PCSampler:
    """The same sampler on what its grid has below ``time``, which comes first."""
    time = time.to(sampler.times)
    return replace(sampler, times=torch.cat([time[None], sampler.times[sampler.times < time]]))


@torch.no_grad()
def sdedit(sampler: PCSampler, x: Tensor, strength: float, noise: Noise, **cond: Any) -> SampleResult:
    """SDEdit (Meng et al. 2022, algorithm 1): noise ``x`` to an intermediate time and sample on from there.

    Args:
        sampler: any; it starts in the middle of its grid.
        x: the images to edit, (B, ...).
        strength: how far they are noised, in (0, 1]; at 1 next to nothing of them is left, and this is sampling.
        noise: the samples' streams.
    """
    time = intermediate_time(sampler.model.process, strength)
    noisy = sampler.model.process.perturb(x, time.to(x.device).expand(len(x)), noise).x
    return follow(started_at(sampler, time), noisy, noise, **cond)
