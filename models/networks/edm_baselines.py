"""The preconditionings that EDM is held against: those of VP, VE and improved DDPM, as denoisers."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, final

import torch
from torch import Tensor

from models.base import Network
from models.networks.preconditioned import Preconditioned, Preconditioning
from sde_lib.ranges import Range
from sde_lib.settings import checked

Levels = Annotated[int, Range(least=2, most=10**6)]


@final
class VPPreconditioned(Preconditioned):
    """VP's: F predicts the noise, D = x - s F(x / sqrt(s^2 + 1); (N - 1) t) (Karras et al. 2022, table 1, column VP).

    t is the time at which the VP process has the noise-to-signal ratio s,
    t = (sqrt(beta_min^2 + 2 b ln(1 + s^2)) - beta_min) / b with b = beta_max - beta_min. See ``Preconditioned``.

    Args:
        network: F, told the index (N - 1) t.
        beta_min: of VP's schedule.
        beta_max: likewise.
        N: number of levels that the index counts.
    """

    of_index: ClassVar[bool] = True

    @checked
    def __init__(
        self,
        network: Network,
        *,
        beta_min: Annotated[float, Range(above=0)] = 0.1,
        beta_max: Annotated[float, Range(above=0)] = 20.0,
        N: Levels = 1000,
    ) -> None:
        super().__init__(network)
        if not beta_min < beta_max:
            raise ValueError(f"beta_min lies below beta_max; got {beta_min} and {beta_max}.")
        self.beta_min, self.slope, self.N = beta_min, beta_max - beta_min, N

    def coefficients(self, sigma: Tensor) -> Preconditioning:
        root = (self.beta_min**2 + 2 * self.slope * (sigma**2).log1p()).sqrt()
        return Preconditioning(
            skip=torch.ones_like(sigma),
            out=-sigma,
            scale_in=(sigma**2 + 1).rsqrt(),
            noise=(self.N - 1) * (root - self.beta_min) / self.slope,
        )


@final
class VEPreconditioned(Preconditioned):
    """VE's: D = x + s F(x; ln(s / 2)) (Karras et al. 2022, table 1, column VE). See ``Preconditioned``.

    Args:
        network: F.
    """

    def coefficients(self, sigma: Tensor) -> Preconditioning:
        one = torch.ones_like(sigma)
        return Preconditioning(skip=one, out=sigma, scale_in=one, noise=(sigma / 2).log())


@final
class IDDPMPreconditioned(Preconditioned):
    """Improved DDPM's: F predicts the noise on a chain of N levels, D = x - s F(x / sqrt(s^2 + 1); N - 1 - j).

    u_j is the noise level of the chain that is nearest to s, j = 0 the noisiest: u_N = 0 and
    u_{j-1}^2 + 1 = (u_j^2 + 1) / max(a_{j-1} / a_j, floor) with a_j = sin^2(pi j / (2 N (1 + offset)))
    (Karras et al. 2022, table 1 and appendix C.3.1). See ``Preconditioned``.

    Args:
        network: F, told the index of a level.
        N: number of levels.
        cosine_offset: of the cosine schedule, C_2 there.
        ratio_floor: the least share of the signal that a step of the chain keeps, C_1 there.
    """

    of_index: ClassVar[bool] = True
    levels: Tensor

    @checked
    def __init__(
        self,
        network: Network,
        *,
        N: Levels = 1000,
        cosine_offset: Annotated[float, Range(above=0)] = 0.008,
        ratio_floor: Annotated[float, Range(above=0, below=1)] = 0.001,
    ) -> None:
        super().__init__(network)
        self.N, self.cosine_offset, self.ratio_floor = N, cosine_offset, ratio_floor
        signal = [math.sin(math.pi / 2 * j / N / (1 + cosine_offset)) ** 2 for j in range(N + 1)]
        u = [0.0] * (N + 1)
        for j in range(N, 0, -1):
            u[j - 1] = math.sqrt((u[j] ** 2 + 1) / max(signal[j - 1] / signal[j], ratio_floor) - 1)
        self.register_buffer("levels", torch.tensor(u), persistent=False)

    def coefficients(self, sigma: Tensor) -> Preconditioning:
        nearest = (self.levels.to(sigma.dtype) - sigma[:, None]).abs().argmin(1)
        return Preconditioning(
            skip=torch.ones_like(sigma),
            out=-sigma,
            scale_in=(sigma**2 + 1).rsqrt(),
            noise=(self.N - 1 - nearest).to(sigma.dtype),
        )
