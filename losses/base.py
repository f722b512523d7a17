"""The interface of training objectives."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar, Generic

from torch import Tensor

from losses.times import TimeSampler
from models.prediction.noise_model import Model, Prediction
from sde_lib.base import Perturbed, Process
from sde_lib.needs import NeededProcess
from sde_lib.noise import Noise
from sde_lib.settings import check_settings


@dataclass(frozen=True)
class Losses:
    """The loss of each sample and the time at which it was taken, both (B,).

    The mean of ``values`` is an unbiased estimate of the objective. ``weights`` (B,) are the importance weights of the
    times, which are contained in ``values``; None: all are one.
    """

    values: Tensor
    t: Tensor
    weights: Tensor | None = None

    @property
    def unweighted(self) -> Tensor:
        """The same without the weights, (B,)."""
        return self.values if self.weights is None else self.values / self.weights


class Loss(abc.ABC, Generic[NeededProcess]):
    """An objective at random times: draw a time, noise the data, predict, compare.

    Attributes:
        needs: what the process must be able to do; checked when a plan is built.
        bounds: whether it holds a term of the variational bound: that alone trains learned variances, and asks for
            the probability of discrete data's levels.
        times: which times are drawn.
    """

    needs: ClassVar[type] = Process
    bounds: ClassVar[bool] = False
    times: TimeSampler[NeededProcess]

    def __post_init__(self) -> None:
        check_settings(self)

    def __call__(self, model: Model[NeededProcess], x0: Tensor, noise: Noise, **cond: Any) -> Losses:
        """The loss of each sample.

        Args:
            model: predictions of a process.
            x0: data, (B, ...).
            noise: the samples' streams.
            cond: the network's conditioning.
        """
        process = model.process
        t = self.times.sample(process, noise)
        noisy = process.perturb(x0, t, noise)
        values = self.values(process, model(noisy.x, t, **cond), x0, noisy, t)
        weights = self.times.weights(t)
        if weights is None:
            return Losses(values, t)
        weights = weights.to(values.dtype)
        return Losses(values * weights, t, weights)

    @abc.abstractmethod
    def values(
        self, process: NeededProcess, prediction: Prediction, x0: Tensor, noisy: Perturbed, t: Tensor
    ) -> Tensor:
        """The objective at given times, (B,).

        Args:
            process: the forward process.
            prediction: of the model at ``noisy.x``.
            x0: data, (B, ...).
            noisy: the noisy states and the noise in them.
            t: their times, (B,).
        """
