"""Classifier-free guidance."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, final

import torch
from torch import Tensor

from models.prediction.noise_model import Model, Prediction
from samplers.guidance.base import Guided, Scale, rows
from samplers.guidance.interval import Bounds
from sde_lib.needs import GivenProcess
from sde_lib.settings import Range, checked
from sde_lib.timetable import doubled


@final
class ClassifierFreeGuidance(Guided[GivenProcess]):
    """(1 - w) prediction(no label) + w prediction(y), conditioning ``y`` (B,) (Ho & Salimans 2021, eq. 6).

    The scale w counts from no label: 0 is the unconditional model, 1 the conditional one, more pushes on;
    the paper's weight is w - 1. All views of a prediction are affine in one another, so it does not matter
    which is mixed. Outside the interval the model is the conditional one (Kynkaanniemi et al. 2024, section
    3).

    With ``rescale`` the mixture's standard deviation over each sample is brought back by that share of the
    way to the conditional prediction's: o (r std(o_y) / std(o) + 1 - r), of the network's own output o (Lin et
    al. 2024, eq. 14-16).

    Both predictions are one call of the network on the doubled batch, which counts as two evaluations of a
    batch; where one of them is not needed (w = 1, w = 0, outside the interval) the call is a plain one.

    Args:
        model: the model that is guided; it must have been trained with label dropout.
        null_label: the class label that stands for no label.
        scale: the guidance scale w; 1 is the conditional model.
        rescale: share r by which the standard deviation is brought back to that of the conditional prediction.

    Raises:
        ValueError: a rescale out of range; no labels.
    """

    @checked
    def __init__(
        self,
        model: Model[GivenProcess],
        null_label: int,
        scale: Scale = 1.0,
        interval: Bounds | None = None,
        rescale: Annotated[float, Range(least=0, most=1, words="is a share in [0, 1]")] = 0.0,
    ) -> None:
        super().__init__(model, scale, interval)
        self.null_label, self.rescale = null_label, float(rescale)

    @property
    def nfe(self) -> int:
        """Evaluations of a batch: a pair is two."""
        return self.model.nfe + self._evaluations

    @property
    def one_graph(self) -> bool:
        """Within an interval it asks the device whether a pair is needed."""
        return self.interval is None and super().one_graph

    def forward(self, x: Tensor, t: Tensor, *, y: Tensor | None = None, **cond: Any) -> Prediction:
        if y is None:
            raise ValueError("classifier-free guidance needs labels: give y, one class a sample.")
        none, inside = torch.full_like(y, self.null_label), self.inside(t)
        # To spare an evaluation is worth asking the device, which happens only with an interval.
        if self.scale == 1 or (inside is not None and not bool(inside.any())):
            return self.model(x, t, y=y, **cond)
        if self.scale == 0 and self.rescale == 0 and inside is None:
            return self.model(x, t, y=none, **cond)
        twice = {name: torch.cat([value, value]) for name, value in cond.items()}
        both: Prediction = self.model(torch.cat([x, x]), doubled(t), y=torch.cat([y, none]), **twice)
        self._evaluations += 1  # beside the one that the model counts
        told, untold = both[: len(x)], both[len(x) :]
        mixed = untold.output + self.scale * (told.output - untold.output)
        mixed = self._rescaled(mixed, told.output)
        if inside is not None:
            mixed = torch.where(rows(inside, mixed), mixed, told.output)
        return replace(told, output=mixed)

    def _rescaled(self, mixed: Tensor, told: Tensor) -> Tensor:
        if self.rescale == 0:
            return mixed
        ratio = told.flatten(1).std(1) / mixed.flatten(1).std(1)
        return mixed * (self.rescale * rows(ratio, mixed) + 1 - self.rescale)
