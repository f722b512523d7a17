"""Autoguidance: away from a worse model of the same data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from models.prediction.noise_model import Model, Prediction
from samplers.guidance.base import Guided, Scale, rows
from samplers.guidance.interval import Bounds
from sde_lib.needs import GivenProcess


@final
class Autoguidance(Guided[GivenProcess]):
    """D_worse + w (D - D_worse) (Karras et al. 2024, eq. 3): a smaller or less trained model in place of no label.

    Both err in the same places, the worse model more so: to go away from it is to go to better samples, of every class
    and without loss of variety. The scale 1 is the model itself, 0 the worse one. Each evaluation of either counts.

    Args:
        model: the model that is guided.
        guide: the worse model, of the same process and data; it may output another view.
        scale: w; 1 is the model itself.
        told: whether the guide is told the classes too.
    """

    def __init__(
        self,
        model: Model[GivenProcess],
        guide: Model[GivenProcess],
        scale: Scale = 2.0,
        interval: Bounds | None = None,
        told: bool = True,
    ) -> None:
        super().__init__(model, scale, interval)
        self.guide, self.told = guide, told

    @property
    def nfe(self) -> int:
        """Evaluations of both."""
        return self.model.nfe + self.guide.nfe

    @property
    def at_pure_noise(self) -> bool:
        return self.model.at_pure_noise and self.guide.at_pure_noise

    @property
    def one_graph(self) -> bool:
        """Within an interval it asks the device whether the guide is needed."""
        return self.interval is None and super().one_graph

    def forward(self, x: Tensor, t: Tensor, *, y: Tensor | None = None, **cond: Any) -> Prediction:
        told: dict[str, Any] = {} if y is None else {"y": y}
        good: Prediction = self.model(x, t, **told, **cond)
        inside = self.inside(t)
        # To spare an evaluation is worth asking the device, which happens only with an interval.
        if self.scale == 1 or (inside is not None and not bool(inside.any())):
            return good
        worse = getattr(self.guide(x, t, **(told if self.told else {}), **cond), good.kind)
        mixed = worse + self.scale * (good.output - worse)
        if inside is not None:
            mixed = torch.where(rows(inside, mixed), mixed, good.output)
        return replace(good, output=mixed)
