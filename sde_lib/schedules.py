"""Noise schedules of discrete chains, as float64 arrays from the least to the most noisy level."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def linear_betas(num_levels: int, beta_min: float = 0.1, beta_max: float = 20.0) -> Tensor:
    """beta_i from beta_min/N to beta_max/N (Ho et al. 2020, section 4, where N = 1000 gives 1e-4 to 0.02)."""
    return torch.linspace(beta_min / num_levels, beta_max / num_levels, num_levels, dtype=torch.float64)


def scaled_linear_betas(num_levels: int, beta_min: float = 0.85, beta_max: float = 12.0) -> Tensor:
    """sqrt(beta_i) even from that of beta_min/N to that of beta_max/N (Rombach et al. 2022, their code).

    N = 1000 gives Stable Diffusion's 0.00085 to 0.012.
    """
    ends = (beta_min / num_levels) ** 0.5, (beta_max / num_levels) ** 0.5
    return torch.linspace(*ends, num_levels, dtype=torch.float64) ** 2


def zero_snr_betas(betas: Tensor) -> Tensor:
    """The betas rescaled so that the last level has no signal (Lin et al. 2024, algorithm 1).

    alpha_i = prod sqrt(1 - beta) is moved and stretched to end at 0 and to begin where it did.

    Args:
        betas: of two levels or more, (N,).
    """
    alphas = (torch.log1p(-betas.double()).cumsum(0) / 2).exp()
    alphas = (alphas - alphas[-1]) * (alphas[0] / (alphas[0] - alphas[-1]))
    kept = torch.cat([alphas[:1], alphas[1:] / alphas[:-1]]) ** 2
    return 1 - kept


def cosine_betas(num_levels: int, offset: float = 0.008, max_beta: float = 0.999) -> Tensor:
    """beta_i = 1 - f(i+1)/f(i), f(i) = cos^2((i/N + offset)/(1 + offset) pi/2) (Nichol & Dhariwal 2021, eq. 17)."""
    u = torch.arange(num_levels + 1, dtype=torch.float64) / num_levels
    f = torch.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2
    return (1 - f[1:] / f[:-1]).clamp(max=max_beta)


def geometric_sigmas(num_levels: int, sigma_min: float = 0.01, sigma_max: float = 50.0) -> Tensor:
    """sigma_i geometric from sigma_min to sigma_max (Song & Ermon 2019, section 4.1)."""
    return torch.linspace(math.log(sigma_min), math.log(sigma_max), num_levels, dtype=torch.float64).exp()
