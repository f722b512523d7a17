"""Weightings of the denoising loss by the signal-to-noise ratio, SNR = alpha^2 / sigma^2.

Papers state them of the squared error in x_0, which is sigma^2 / alpha^2 = 1 / SNR times that in eps; here they are
factors of the latter, as every ``Weighting`` is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from losses.weightings import Weighting, noise_to_signal, register_weighting
from sde_lib.base import GaussianProcess
from sde_lib.settings import Range

Positive = Annotated[float, Range(above=0)]


@register_weighting(name="snr")
@dataclass(frozen=True)
class SNRWeighting(Weighting[GaussianProcess]):
    """SNR |x0 error|^2 (Salimans & Ho 2022, section 4), which is the squared error in eps: 1 here."""

    def weight(self, process: GaussianProcess, x: Tensor, t: Tensor, std: Tensor) -> Tensor:
        return torch.ones_like(process.marginal(t).log_snr)


@register_weighting(name="truncated_snr")
@dataclass(frozen=True)
class TruncatedSNRWeighting(Weighting[GaussianProcess]):
    """max(SNR, 1) |x0 error|^2 (Salimans & Ho 2022, section 4): max(1, 1 / SNR) here."""

    def weight(self, process: GaussianProcess, x: Tensor, t: Tensor, std: Tensor) -> Tensor:
        return noise_to_signal(process, t).clamp(min=1)


@register_weighting(name="min_snr")
@dataclass(frozen=True)
class MinSNRWeighting(Weighting[GaussianProcess]):
    """min(SNR, gamma) |x0 error|^2 (Hang et al. 2023, section 3.4): min(1, gamma / SNR) here.

    Args:
        snr_gamma: gamma, the SNR above which the weight of x_0 grows no more.
    """

    snr_gamma: Positive = 5.0

    def weight(self, process: GaussianProcess, x: Tensor, t: Tensor, std: Tensor) -> Tensor:
        return (math.log(self.snr_gamma) - process.marginal(t).log_snr).exp().clamp(max=1)


@register_weighting(name="soft_min_snr")
@dataclass(frozen=True)
class SoftMinSNRWeighting(Weighting[GaussianProcess]):
    """gamma SNR / (SNR + gamma) |x0 error|^2 (Crowson et al. 2024, their soft-min-SNR): gamma / (SNR + gamma) here.

    With gamma = 1 / sigma_data^2 it is 1 / (sigma^2 + sigma_data^2) of the error in x_0 for a process of alpha = 1.

    Args:
        snr_gamma: gamma, about where the weight of x_0 ceases to grow.
    """

    snr_gamma: Positive = 5.0

    def weight(self, process: GaussianProcess, x: Tensor, t: Tensor, std: Tensor) -> Tensor:
        return (math.log(self.snr_gamma) - process.marginal(t).log_snr).sigmoid()


@register_weighting(name="p2")
@dataclass(frozen=True)
class P2Weighting(Weighting[GaussianProcess]):
    """|eps error|^2 / (k + SNR)^gamma (Choi et al. 2022, eq. 8): less where only imperceptible detail is left.

    Args:
        p2_k: k.
        p2_gamma: gamma; 0 is the simple loss.
    """

    p2_k: Positive = 1.0
    p2_gamma: Annotated[float, Range(least=0)] = 1.0

    def weight(self, process: GaussianProcess, x: Tensor, t: Tensor, std: Tensor) -> Tensor:
        log_snr = process.marginal(t).log_snr
        return (
            -self.p2_gamma * torch.logaddexp(log_snr, torch.full_like(log_snr, math.log(self.p2_k)))
        ).exp()
