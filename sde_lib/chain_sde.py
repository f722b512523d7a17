"""A discrete chain continued to every real index, for samplers that choose their times freely."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sde_lib.base import GaussianSDE, Marginal
from sde_lib.discrete import DiscreteDiffusion


class InterpolatedChain(nn.Module, GaussianSDE):
    """A chain whose levels are interpolated: log alpha and log sigma are linear in the index between two levels.

    Its time is the real index, from N - 1 to 0; at an integer it is the chain. There is no level below index 0, so
    sampling ends there, with the estimate of clean data; a last level without signal has no logarithm, and time starts
    at the one before. A network trained on the chain is given the real index
    (``models.prediction.time_encoding.FractionalIndex``).

    Args:
        chain: the chain whose levels are interpolated.
    """

    t_min: float = 0.0
    t_end: float = 0.0
    log_alphas: Tensor
    log_sigmas: Tensor

    def __init__(self, chain: DiscreteDiffusion) -> None:
        super().__init__()
        self.chain = chain
        self.T, self.N = float(chain.signal_start), chain.num_levels
        self._prior_std = chain.prior_std
        level = chain.marginal(torch.arange(int(self.T) + 1, device=chain.alphas.device))
        self.register_buffer("log_alphas", level.alpha.log(), persistent=False)
        self.register_buffer("log_sigmas", level.sigma.log(), persistent=False)

    @property
    def device(self) -> torch.device:
        return self.log_alphas.device

    @property
    def clean(self) -> float:
        return -1.0

    @property
    def prior_std(self) -> float:
        return self._prior_std

    def marginal(self, t: Tensor) -> Marginal:
        below = t.detach().long().clamp(0, len(self.log_alphas) - 2)
        share = t.double() - below
        alpha = torch.lerp(self.log_alphas[below], self.log_alphas[below + 1], share).exp()
        sigma = torch.lerp(self.log_sigmas[below], self.log_sigmas[below + 1], share).exp()
        clean = t < 0
        return Marginal(
            torch.where(clean, torch.ones_like(alpha), alpha),
            torch.where(clean, torch.zeros_like(sigma), sigma),
        )

    def time_of(self, noise_to_signal: Tensor) -> Tensor:
        """By linear interpolation of log(sigma/alpha) between two levels."""
        levels, wanted = self.log_sigmas - self.log_alphas, noise_to_signal.double().log()
        above = torch.searchsorted(levels, wanted.contiguous()).clamp(1, len(levels) - 1)
        share = (wanted - levels[above - 1]) / (levels[above] - levels[above - 1])
        return (above - 1 + share).clamp(0, self.T)
