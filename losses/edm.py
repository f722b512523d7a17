"""EDM's training: its distribution of noise levels and its weighting of the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from losses.times import TimeSampler
from losses.weightings import Weighting, noise_to_signal, register_weighting
from sde_lib.base import GaussianProcess
from sde_lib.noise import Noise
from sde_lib.settings import Range
from sde_lib.words import digits

LEAST_SHARE = 1e-3
"""Of a log-normal distribution that a process must have."""


@dataclass(frozen=True)
class LogNormalTimes(TimeSampler[GaussianProcess]):
    """ln(sigma/alpha) ~ N(P_mean, P_std^2) (Karras et al. 2022, table 1; their section 5), as far as the process goes.

    Most of training then happens where it matters: below it, errors are imperceptible and irreducible;
    above it, the answer is the data's mean. The normal is truncated to the levels of noise at which the process is
    trained: a level beyond them is drawn anew, within them. On a chain the nearest level is taken.

    Args:
        P_mean: mean of ln(sigma/alpha).
        P_std: standard deviation of ln(sigma/alpha).
    """

    P_mean: float = -1.2
    P_std: Annotated[float, Range(above=0)] = 1.2

    def sample(self, process: GaussianProcess, noise: Noise) -> Tensor:
        # The second of the two normal values of one word of bits: it costs no further draw.
        z, again = noise.normal((len(noise), 2)).double().unbind(1)
        low, high = self._ends(process, noise.device)
        z = torch.where((z < low) | (z > high), _truncated(torch.special.ndtr(again), low, high), z)
        return process.time_of((self.P_mean + self.P_std * z).exp()).clamp(*process.trained)

    def check(self, process: GaussianProcess) -> None:
        low, high = self._ends(process, process.device)
        share = float(torch.special.ndtr(high) - torch.special.ndtr(low))
        if not share >= LEAST_SHARE:
            first, last = process.trained
            raise ValueError(
                f"training.times='log_normal' with P_mean={self.P_mean:g} and P_std={self.P_std:g} draws levels of "
                f"noise that {type(process).__name__} does not have: only {share:.2g} of them lie between those of "
                f"the times {first:g} and {last:g}, at which it is trained. Set training.P_mean between "
                f"{digits(self.P_mean + self.P_std * float(low), 3)} and "
                f"{digits(self.P_mean + self.P_std * float(high), 3)}."
            )

    def _ends(self, process: GaussianProcess, device: torch.device) -> Tensor:
        """The standard scores of ln(sigma/alpha) at the first and at the last time of training, (2,)."""
        first, last = process.trained
        # At time 0 an SDE has no noise; the least level is that of the least time after it.
        times = process.time(torch.tensor([max(first, 1e-300), last], dtype=torch.float64, device=device))
        return (-process.marginal(times).log_snr / 2 - self.P_mean) / self.P_std


def _truncated(u: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The quantiles ``u`` (B,) of the standard normal between ``low`` and ``high``."""
    below, above = torch.special.ndtr(low), torch.special.ndtr(high)
    quantiles: Tensor = torch.special.ndtri(below + u * (above - below))
    return quantiles.clamp(low, high)


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
        return 1 + noise_to_signal(process, t) / self.sigma_data**2
