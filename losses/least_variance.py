"""Times at which the loss varies least, learned while it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from losses.learned import Learned
from losses.times import TimeSampler
from sde_lib.base import GaussianSDE
from sde_lib.noise import Noise

HALVINGS = 40
"""Of [0, 1], in which a quantile is found to 1e-12."""
SHARE = 0.1
"""Of the variance in the gradient, whose norm is that of the network: Adam's steps do not depend on it."""


@final
class Monotone(Learned):
    """F of [0, 1] to itself, smooth and rising: u = w_0 x + sum_k w_k F_k(x), with weights w > 0 of sum 1.

    F_k is the logistic distribution function about (k + 1/2) / pieces of scale 1 / pieces, cut to [0, 1].

    Args:
        pieces: how many.
    """

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(1 + pieces))
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """F(x), shaped like ``x``, float64."""
        weights, whole, places = self._parts(x)
        risen = (self.pieces * x[..., None] - places).sigmoid() - (-places).sigmoid()
        return weights[0] * x + (risen * weights[1:] / whole).sum(-1)

    def density(self, x: Tensor) -> Tensor:
        """F'(x) > 0."""
        weights, whole, places = self._parts(x)
        z = self.pieces * x[..., None] - places
        return weights[0] + (self.pieces * z.sigmoid() * (-z).sigmoid() * weights[1:] / whole).sum(-1)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The weights (1 + K,); of each logistic how much of it lies in [0, 1], and its centre in scales, (K,)."""
        places = torch.arange(self.pieces, device=x.device, dtype=torch.float64) + 0.5
        whole = (self.pieces - places).sigmoid() - (-places).sigmoid()
        return self.logits.double().softmax(0), whole, places

    def constrain(self) -> None:
        """Any logits will do."""

    @torch.no_grad()
    def quantile(self, u: Tensor) -> Tensor:
        """x of F(x) = u, by bisection."""
        low, high = torch.zeros_like(u), torch.ones_like(u)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = self(middle) < u
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2


@dataclass(frozen=True)
class LeastVarianceTimes(TimeSampler[GaussianSDE]):
    """Times whose density over log-SNR is learned, so that the loss varies least (Kingma et al. 2021, section 5.1 and
    appendix I; Zheng et al. 2023, section 4).

    The mean of the loss is that of uniform times whatever is learned; the least variance is that of a density in
    proportion to the root of E[loss^2] at each log-SNR. One time is drawn in each of B equal parts of the distribution.

    Args:
        process: whose trained times are drawn.
        learned: the distribution function of the share of the way through the log-SNR.
    """

    process: GaussianSDE
    learned: Monotone

    def check(self, process: GaussianSDE) -> None:
        first, last = process.trained
        ends = process.marginal(process.time([first, last])).log_snr
        if not bool(ends.isfinite().all()):
            raise ValueError(
                f"training.times='least_variance' is a distribution over the log-SNR, which is infinite at a time of "
                f"{type(process).__name__} between {first:g} and {last:g}; set model.t_min above 0, or take "
                f"training.times='logit_normal' for a flow."
            )

    def sample(self, process: GaussianSDE, noise: Noise) -> Tensor:
        with torch.no_grad():
            low, high = self._ends(noise.device)
            gamma = low + (high - low) * self.learned.quantile(noise.strata())
            return process.time_of((gamma / 2).exp()).clamp(*process.trained)

    def weights(self, t: Tensor) -> Tensor:
        with torch.no_grad():
            low, high = self._ends(t.device)
            first, last = self.process.trained
            slope = (self.process.rates(t).diffusion / self.process.marginal(t).sigma).square()
            density: Tensor = (last - first) * slope * self.learned.density(self._share(t)) / (high - low)
            return 1 / density

    def lesson(self, t: Tensor, losses: Tensor) -> Tensor:
        """-loss^2 log p(t): its gradient is that of E[loss^2], the losses being weighted by 1 / p."""
        return -SHARE * losses.detach().square() * self.learned.density(self._share(t)).log().to(losses.dtype)

    def _ends(self, device: torch.device) -> Tensor:
        times = torch.tensor(self.process.trained, dtype=torch.float64, device=device)
        return -self.process.marginal(times).log_snr

    @torch.no_grad()
    def _share(self, t: Tensor) -> Tensor:
        """Where the log-SNR lies between its ends."""
        low, high = self._ends(t.device)
        share: Tensor = (-self.process.marginal(t).log_snr - low) / (high - low)
        return share.clamp(0, 1)
