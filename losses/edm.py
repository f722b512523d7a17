"""EDM's training: its distribution of noise levels and its weighting of the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from losses.times import TimeSampler
from losses.weightings import Weighting, register_weighting
from sde_lib.base import GaussianProcess
from sde_lib.noise import Noise
from sde_lib.settings import Range


@dataclass(frozen=True)
class LogNormalTimes(TimeSampler[GaussianProcess]):
    """ln(sigma/alpha) ~ N(P_mean, P_std^2) (Karras et al. 2022, table 1; their section 5).

    Most of training then happens where it matters: below it, errors are imperceptible and irreducible;
    above it, the answer is the data's mean. A process that has not the level drawn gives its nearest.

    Args:
        P_mean: mean of ln(sigma/alpha).
        P_std: standard deviation of ln(sigma/alpha).
    """

    P_mean: float = -1.2
    P_std: Annotated[float, Range(above=0)] = 1.2

    def sample(self, process: GaussianProcess, noise: Noise) -> Tensor:
        z = noise.normal((len(noise), 1))[:, 0].double()
        return process.time_of((self.P_mean + self.P_std * z).exp())


@register_weighting(name="edm")
@dataclass(frozen=True)
class EDMWeighting(Weighting[GaussianProcess]):
    """lambda(s) |x0 error|^2 with lambda(s) = (s^2 + sigma_data^2) / (s sigma_data)^2, s = sigma/alpha.

    Karras et al. 2022, table 1. An error in x_0 is s times that in eps, so the factor here is
    (s^2 + sigma_data^2) / sigma_data^2. In front of a preconditioned network it is 1 / c_out^2 of the error
    in x_0: every noise level starts with the same loss.

    Args:
        sigma_data: standard deviation of the data, as in the preconditioning of the network.
    """

    sigma_data: Annotated[float, Range(above=0)] = 0.5

    def weight(self, process: GaussianProcess, x: Tensor, t: Tensor, std: Tensor) -> Tensor:
        return 1 + (-process.marginal(t).log_snr).exp() / self.sigma_data**2
