"""Denoising score matching: every process, every parameterisation, one formula."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from losses.base import Loss
from losses.times import TimeSampler
from losses.weightings import EpsWeighting, Weighting
from models.prediction.noise_model import Prediction
from sde_lib.base import Perturbed, expand
from sde_lib.needs import NeededProcess


@dataclass(frozen=True)
class DenoisingLoss(Loss[NeededProcess]):
    """weight(t) |std score(x_t, t) + eps|^2 with x_t = mean + std eps (Song et al. 2021, eq. 7).

    On a chain this is the DDPM loss (Ho et al. 2020, eq. 14) or the SMLD loss (Song & Ermon 2019, eq. 5-6):
    for a network that outputs eps, std score is -eps; for one that outputs x0 or v, a weighting turns the
    error in eps into the error of that output.

    Args:
        times: distribution of the times.
        weighting: factor of the squared error at each time.
        reduce_mean: whether to average over the elements of a sample; otherwise half their sum (both as in score_sde).
    """

    squares: ClassVar[bool] = True
    times: TimeSampler[NeededProcess]
    weighting: Weighting[NeededProcess] = field(default_factory=EpsWeighting)
    reduce_mean: bool = True

    def values(
        self, process: NeededProcess, prediction: Prediction, x0: Tensor, noisy: Perturbed, t: Tensor
    ) -> Tensor:
        residual = noisy.eps + expand(noisy.std, x0) * prediction.score
        squares = residual.square().flatten(1)
        total = squares.mean(1) if self.reduce_mean else 0.5 * squares.sum(1)
        weight = self.weighting.weight(process, noisy.x, t, noisy.std)
        return total * weight.to(total.dtype)
