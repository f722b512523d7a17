"""The process of variational diffusion models: a log-SNR linear in time, whose ends may be learned."""

from __future__ import annotations

import copy
from typing import Annotated, Literal, final

import torch
from torch import Tensor, nn

from sde_lib.base import GaussianSDE, Marginal, register_sde
from sde_lib.rates import PathRates, Rates
from sde_lib.settings import Range, checked


@final
class Ends(nn.Module):
    """gamma at t = 0 and at t = 1, learned as a shift of the first and a stretch of their distance.

    Both are 0 at first, and weight decay draws them there.

    Args:
        gamma_min, gamma_max: the ends to set out from.
    """

    def __init__(self, gamma_min: float, gamma_max: float) -> None:
        super().__init__()
        self.gamma_min, self.span = gamma_min, gamma_max - gamma_min
        self.shift, self.stretch = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def forward(self) -> tuple[Tensor, Tensor]:
        """gamma(0) and gamma(1) - gamma(0) > 0, (), float64."""
        return self.gamma_min + self.shift.double(), self.span * self.stretch.double().exp()


@register_sde(name="vdm")
class VDM(GaussianSDE):
    """alpha^2 = sigmoid(-gamma), sigma^2 = sigmoid(gamma), gamma = -log SNR = gamma_min + (gamma_max - gamma_min) t.

    Kingma et al. 2021, section 3.2: a variance-preserving process, from almost clean data to almost pure noise. At
    t = 0 itself data are clean. How gamma goes from one end to the other changes neither the bound of the likelihood
    nor a flow (their section 5.1), only how training times are spread: here it is linear, and what their network
    gamma(t) learns between the ends is ``training.times='least_variance'``.

    Args:
        gamma_min: -log SNR next to clean data.
        gamma_max: -log SNR of the prior.
        ends: ``fixed``, or ``learned`` with the network by ``training.objective='elbo'``: part of its weights.
        N: number of levels of the reference discretisation, which enters Langevin's step size alone.
        t_min: the smallest time at which the network is trained and at which likelihoods are read.
        t_end: the smallest time at which samplers evaluate the network.

    Raises:
        ValueError: ends out of order.
    """

    @checked
    def __init__(
        self,
        gamma_min: float = -13.3,
        gamma_max: float = 5.0,
        ends: Literal["fixed", "learned"] = "fixed",
        N: Annotated[int, Range(least=1)] = 1000,
        t_min: Annotated[float, Range(above=0, below=1)] = 1e-5,
        t_end: float = 1e-3,
    ) -> None:
        if not gamma_min < gamma_max:
            raise ValueError(f"VDM needs gamma_min < gamma_max, got {gamma_min} and {gamma_max}.")
        self.gamma_min, self.gamma_max, self.N, self.t_min, self.t_end = gamma_min, gamma_max, N, t_min, t_end
        self._ends = Ends(gamma_min, gamma_max) if ends == "learned" else None

    def __repr__(self) -> str:
        return f"VDM(gamma_min={self.gamma_min}, gamma_max={self.gamma_max}{', learned' * (self._ends is not None)})"

    @property
    def learned(self) -> nn.Module | None:
        return self._ends

    def with_learned(self, learned: nn.Module) -> VDM:
        assert isinstance(learned, Ends), "of a process of the same settings"
        made = copy.copy(self)
        made._ends = learned
        return made

    @property
    def device(self) -> torch.device:
        return super().device if self._ends is None else self._ends.shift.device

    @property
    def _line(self) -> tuple[Tensor | float, Tensor | float]:
        """gamma at 0, and its slope."""
        if self._ends is None:
            return self.gamma_min, self.gamma_max - self.gamma_min
        low, slope = self._ends()
        return low, slope

    def gamma(self, t: Tensor) -> Tensor:
        """-log SNR, shaped like ``t``, at 0 too, where clean data have none."""
        low, slope = self._line
        return low + slope * t.double()

    def marginal(self, t: Tensor) -> Marginal:
        gamma, clean = self.gamma(t), t <= 0
        # The roots of sigmoids, whose logarithms neither overflow nor round to 0.
        alpha = (nn.functional.logsigmoid(-gamma) / 2).exp()
        sigma = (nn.functional.logsigmoid(gamma) / 2).exp()
        return Marginal(alpha.masked_fill(clean, 1.0), sigma.masked_fill(clean, 0.0))

    def rates(self, t: Tensor) -> Rates:
        _, slope = self._line
        variance = self.gamma(t).sigmoid()
        return Rates(-0.5 * slope * variance, (slope * variance).sqrt())

    def path_rates(self, t: Tensor) -> PathRates:
        m, (_, slope) = self.marginal(t), self._line
        return PathRates(-0.5 * slope * m.alpha * m.sigma**2, 0.5 * slope * m.sigma * m.alpha**2)

    @torch.no_grad()
    def time_of(self, noise_to_signal: Tensor) -> Tensor:
        low, slope = self._line
        return (2 * noise_to_signal.double().log() - low) / slope

    def label(self, t: Tensor) -> Tensor:
        """Where gamma lies between the ends that were set: what networks are told, whatever has been learned."""
        return (self.gamma(t) - self.gamma_min) / (self.gamma_max - self.gamma_min)
