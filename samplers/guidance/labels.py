"""Guidance by labels: the predictions with a label and without one, from one call of the network."""

from __future__ import annotations

import abc
from typing import Any

import torch
from torch import Tensor

from models.prediction.noise_model import Model, Prediction
from samplers.guidance.base import Guided, Scale
from samplers.guidance.interval import Bounds
from sde_lib.needs import GivenProcess
from sde_lib.timetable import doubled


class LabelGuidance(Guided[GivenProcess], abc.ABC):
    """A mixture of prediction(y) and prediction(no label), conditioning ``y`` (B,); outside the interval prediction(y).

    Both predictions are one call of the network on the doubled batch, which counts as two evaluations of a
    batch; where one of them is not needed the call is a plain one.

    Args:
        model: the model that is guided; it must have been trained with label dropout.
        null_label: the class label that stands for no label.
        scale: the guidance scale; 1 is the conditional model, 0 the unconditional one.

    Raises:
        ValueError: no labels.
    """

    def __init__(
        self, model: Model[GivenProcess], null_label: int, scale: Scale, interval: Bounds | None
    ) -> None:
        super().__init__(model, scale, interval)
        self.null_label = null_label

    @property
    def nfe(self) -> int:
        """Evaluations of a batch: a pair is two."""
        return self.model.nfe + self._evaluations

    @property
    def at_pure_noise(self) -> bool:
        return self.model.at_pure_noise

    @property
    def one_graph(self) -> bool:
        """Within an interval it asks the device whether a pair is needed."""
        return self.interval is None and super().one_graph

    @property
    def conditional(self) -> bool:
        """Whether the guided prediction is that with the label."""
        return self.scale == 1

    @property
    def unconditional(self) -> bool:
        """Whether the guided prediction is that without one."""
        return self.scale == 0

    @abc.abstractmethod
    def mixed(self, told: Prediction, untold: Prediction, inside: Tensor | None) -> Prediction:
        """The guided prediction, from that with the label and that without; ``told`` where ``inside`` (B,) is False."""

    def forward(self, x: Tensor, t: Tensor, *, y: Tensor | None = None, **cond: Any) -> Prediction:
        if y is None:
            raise ValueError("classifier-free guidance needs labels: give y, one class a sample.")
        none, inside = torch.full_like(y, self.null_label), self.inside(t)
        # To spare an evaluation is worth asking the device, which happens only with an interval.
        if self.conditional or (inside is not None and not bool(inside.any())):
            return self.model(x, t, y=y, **cond)
        if self.unconditional and inside is None:
            return self.model(x, t, y=none, **cond)
        twice = {name: torch.cat([value, value]) for name, value in cond.items()}
        both: Prediction = self.model(torch.cat([x, x]), doubled(t), y=torch.cat([y, none]), **twice)
        self._evaluations += 1  # beside the one that the model counts
        return self.mixed(both[: len(x)], both[len(x) :], inside)
