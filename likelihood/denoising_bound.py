"""The continuous-time variational bound, a weighted denoising error: differentiable in the data."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from models.prediction.noise_model import Model
from sde_lib.base import GaussianSDE, expand
from sde_lib.needs import serves
from sde_lib.noise import Noise


class DenoisingBound:
    """E[prior + reconstruction + 1/2 integral of |eps - eps_hat(x_t)|^2 d lambda] >= -log p(x_0).

    lambda = log(alpha^2 / sigma^2) runs from the prior's to that of t_min (Kingma et al. 2021, eq. 12-13, with
    their SNR weight of the data's error; for a score model Song et al. 2021, "Maximum likelihood training",
    theorem 3). p is the density of the reverse SDE's endpoint, not of the probability flow. The reconstruction
    is of p(x_0 | x_t) = N(x_t / alpha, (sigma / alpha)^2 I) at t_min, as in ``truncation="noised"``.

    Args:
        model: of an SDE with a Gaussian marginal.
        t_min: where the integral begins; the process's own unless given.

    Raises:
        ValueError: another process.
    """

    needs = GaussianSDE

    def __init__(self, model: Model[GaussianSDE], t_min: float | None = None) -> None:
        process = model.process
        if not serves(process, self):
            raise ValueError(
                f"the denoising bound needs a GaussianSDE, for its log-SNR, and {type(process).__name__} is none."
            )
        self.model = model
        self.process = process
        ends = process.time([process.t_min if t_min is None else t_min, process.signal_start])
        self.first, self.last = (float(log_snr) for log_snr in process.marginal(ends).log_snr)

    def __call__(self, x0: Tensor, noise: Noise, quantile: Tensor, **cond: Any) -> Tensor:
        """One draw of the bound for each sample, in nats, (B,), float64: two evaluations of the network.

        The two have opposite noise: most of the noise in the gradient with respect to the data is odd in it.

        Args:
            x0: data, (B, ...).
            noise: the samples' streams.
            quantile: where between the two log-SNRs, (B,) in [0, 1): uniform draws, which may be stratified.
            cond: the network's conditioning.
        """
        process, width = self.process, self.first - self.last
        log_snr = self.last + width * quantile.double()
        t = process.time_of((-0.5 * log_snr).exp())
        m, eps = process.marginal(t), noise.normal(x0.shape)
        signal, spread = expand(m.alpha, x0) * x0, expand(m.sigma, x0) * eps
        doubled = {name: torch.cat([value, value]) for name, value in cond.items()}
        found = self.model(torch.cat([signal + spread, signal - spread]), torch.cat([t, t]), **doubled).eps
        squares = (found - torch.cat([eps, -eps])).flatten(1).double().square().sum(1)
        return 0.5 * width * squares.reshape(2, -1).mean(0) + self._prior(x0) + self._reconstruction(x0)

    def _prior(self, x0: Tensor) -> Tensor:
        """KL(q(x_T | x_0) | N(0, prior_std^2 I))."""
        end = self.process.marginal(
            torch.full((len(x0),), self.process.signal_start, dtype=torch.float64, device=x0.device)
        )
        scaled = (expand(end.alpha, x0) * x0).flatten(1).double() / self.process.prior_std
        ratio = (end.sigma / self.process.prior_std) ** 2
        return 0.5 * (scaled.square().sum(1) + scaled.shape[1] * (ratio - 1 - ratio.log()))

    def _reconstruction(self, x0: Tensor) -> float:
        """E[-log N(x_0; x_t / alpha, (sigma / alpha)^2 I)] at t_min."""
        return 0.5 * x0[0].numel() * (math.log(2 * math.pi) + 1 - self.first)
