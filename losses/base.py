"""The interface of training objectives."""

from __future__ import annotations

import abc
from dataclasses import replace
from typing import Any, ClassVar, Generic

from torch import Tensor

from losses.learned import LearnedParts
from losses.of_samples import Losses
from losses.times import TimeSampler
from models.prediction.noise_model import Model, Prediction
from sde_lib.base import Perturbed, Process
from sde_lib.needs import NeededProcess
from sde_lib.noise import Noise
from sde_lib.settings import check_settings

__all__ = ["Loss", "Losses"]


class Loss(abc.ABC, Generic[NeededProcess]):
    """An objective at random times: draw a time, noise the data, predict, compare.

    Attributes:
        needs: what the process must be able to do; checked when a plan is built.
        bounds: whether it holds a term of the variational bound: that alone trains learned variances, and asks for
            the probability of discrete data's levels.
        squares: whether its values are squared errors, each above 0.
        trains_process: whether what a process can learn is trained by it.
        times: which times are drawn.
    """

    needs: ClassVar[type] = Process
    bounds: ClassVar[bool] = False
    squares: ClassVar[bool] = False
    trains_process: ClassVar[bool] = False
    times: TimeSampler[NeededProcess]

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def of_levels(self) -> bool:
        """Whether it asks for the probability of discrete data's levels."""
        return self.bounds

    @property
    def learned(self) -> LearnedParts:
        """What it learns itself, which may be nothing."""
        return LearnedParts(times=self.times.learned)

    def check(self, process: NeededProcess) -> None:
        """Refuse a process of which it has no finite value.

        Raises:
            ValueError: such a process; the message says what to change.
        """

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
        losses = self.times.weighted(t, values)
        constant = self.constant(process, x0, noisy, t)
        return (
            losses
            if constant is None
            else replace(losses, values=losses.values + constant, constant=constant)
        )

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

    def constant(self, process: NeededProcess, x0: Tensor, noisy: Perturbed, t: Tensor) -> Tensor | None:
        """What the objective has beside, whatever the time, (B,); None: nothing. Arguments as of ``values``."""
        return None
