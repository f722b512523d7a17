"""The variational bound in continuous time, as a loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from losses.base import Loss
from losses.times import TimeSampler
from models.prediction.bound import prior_term
from models.prediction.noise_model import Prediction
from sde_lib.base import GaussianSDE, Perturbed, expand
from sde_lib.gaussian import Bins


@dataclass(frozen=True)
class ElboLoss(Loss[GaussianSDE]):
    """The bound of -log p in bits/dim, of infinitely many levels (Kingma et al. 2021, eq. 11 and 18).

    KL(q(x_T | x_0) | prior) - E log p(x_0 | x_{t_min}) + 1/2 E of the integral of gamma'(t) |eps error|^2, with
    gamma = -log SNR and gamma' = g^2 / sigma^2. With an exact score and a prior of p_T it is -log p, but for what
    x_{t_min} does not tell of x_0. It depends on the SNR at both ends and on nothing between them. An error in v is
    1 / alpha times that in eps of a variance-preserving process, so that a network of v is trained by the same loss.

    p(x_0 | x_{t_min}) is N(x_{t_min} / alpha, (sigma / alpha)^2), or what it gives each of the data's levels.

    Args:
        times: distribution of the times.
        bins: levels of discrete data; None: the data have a density.
    """

    needs: ClassVar[type] = GaussianSDE
    trains_process: ClassVar[bool] = True
    times: TimeSampler[GaussianSDE]
    bins: Bins | None = None

    @property
    def of_levels(self) -> bool:
        return self.bins is not None

    def check(self, process: GaussianSDE) -> None:
        if not process.trained[0] > process.clean:
            raise ValueError(
                "training.objective='elbo' reads data through the noise of t_min, and there is none at 0: set "
                "model.t_min above 0."
            )

    def values(
        self, process: GaussianSDE, prediction: Prediction, x0: Tensor, noisy: Perturbed, t: Tensor
    ) -> Tensor:
        first, last = process.trained
        error = (noisy.eps - prediction.eps).square().flatten(1).mean(1)
        slope = (process.rates(t).diffusion / process.marginal(t).sigma).square()
        return error * (0.5 * (last - first) / math.log(2) * slope).to(error.dtype)

    def constant(self, process: GaussianSDE, x0: Tensor, noisy: Perturbed, t: Tensor) -> Tensor:
        first, last = (
            t.new_full((len(x0),), end, dtype=t.dtype) for end in (process.trained[0], process.start)
        )
        m = process.marginal(first)
        log_variance = 2 * (m.sigma / m.alpha).log()
        if self.bins is None:
            decoded = (-0.5 * (math.log(2 * math.pi) + 1 + log_variance)).to(x0.dtype)
        else:
            # The noise is that of another time, which the expectation of neither term notices.
            mean = x0 + expand(m.sigma / m.alpha, x0) * noisy.eps
            decoded = self.bins.log_probability(x0, mean, expand(log_variance, x0)).flatten(1).mean(1)
        return (prior_term(process, x0, last) - decoded) / math.log(2)
