"""A loss in units of the error that is expected at each level of noise, which is learned with the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, final

import torch
from torch import Tensor, nn

from losses.base import Loss
from losses.learned import Learned, LearnedParts
from losses.times import TimeSampler
from models.blocks.magnitude import MPFourier, MPLayer
from models.prediction.noise_model import NoiseModel, Prediction
from sde_lib.base import GaussianProcess, Perturbed

FEATURES = 128
"""Fourier features of the level of noise."""
CLEANEST = 80.0
"""The largest logarithm of alpha^2 / sigma^2 that is told: at clean data it is infinite."""


class LogError(Protocol):
    """u, the logarithm of the loss that is expected at times (B,): (B,), float32."""

    def __call__(self, process: GaussianProcess, t: Tensor) -> Tensor: ...


@final
class OwnLogError(Learned):
    """u of a loss whose network has none: a dense layer of unit magnitude on Fourier features of c_noise, times a gain.

    c_noise = ln(sigma / alpha) / 4, which is EDM's where alpha is 1. The gain is 0 at first, so that training sets
    out from the loss as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fourier, self.layer = MPFourier(FEATURES), MPLayer(FEATURES, 1)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, process: GaussianProcess, t: Tensor) -> Tensor:
        level = process.marginal(t.clamp(max=process.signal_start)).log_snr.clamp(max=CLEANEST)
        u: Tensor = self.layer(self.fourier(-level / 8), self.gain)
        return u[:, 0]

    def constrain(self) -> None:
        self.layer.constrain()


@dataclass(frozen=True)
class NetworkLogError:
    """u of a network that has a layer for it, as ``edm2`` has.

    Args:
        model: of the network.
    """

    model: NoiseModel

    def __call__(self, process: GaussianProcess, t: Tensor) -> Tensor:
        u = self.model.log_variance(t)
        assert u is not None, "checked when the loss is built"
        return u


@dataclass(frozen=True)
class UncertainLoss(Loss[GaussianProcess]):
    """exp(-u) loss + u, with u(noise level) trained beside the network (Kendall et al. 2018; Karras et al. 2024).

    For a network that stays as it is the least value is that of u = log E[loss], at each level of its own: the loss of
    every level is then 1, and the gradient of the whole is that of the mean logarithm of the levels' losses, so that no
    level outweighs another. The weights of noise levels in the loss inside are without effect on that gradient.

    Args:
        times: distribution of the times, that of the loss inside.
        loss: squared errors; see ``Loss.squares``.
        log_error: u.
        own: the part of u that is no network's; None: there is none.
    """

    needs: ClassVar[type] = GaussianProcess
    times: TimeSampler[GaussianProcess]
    loss: Loss
    log_error: LogError
    own: Learned | None = None

    @property
    def learned(self) -> LearnedParts:
        return LearnedParts(times=self.times.learned, log_error=self.own)

    def values(
        self, process: GaussianProcess, prediction: Prediction, x0: Tensor, noisy: Perturbed, t: Tensor
    ) -> Tensor:
        values = self.loss.values(process, prediction, x0, noisy, t)
        u = self.log_error(process, t).to(values.dtype)
        return values * (-u).exp() + u


def uncertain(loss: Loss, model: NoiseModel) -> UncertainLoss:
    """A loss in units of its expected error, u being the network's own where it has one.

    Raises:
        ValueError: the loss is no squared error.
    """
    if not loss.squares:
        raise ValueError(
            "training.uncertainty=True divides a squared error by the expected one, and this objective is none: "
            "set training.objective to 'denoising' or 'simple', or leave uncertainty False."
        )
    if getattr(model.network, "has_log_variance", False):
        return UncertainLoss(loss.times, loss, NetworkLogError(model))
    own = OwnLogError()
    return UncertainLoss(loss.times, loss, own, own)
