"""CFG++: guidance that puts the noise back without a label."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, TypeAlias, final

import torch
from torch import Tensor

from models.prediction.noise_model import Model, Prediction
from samplers.guidance.base import rows
from samplers.guidance.interval import Bounds
from samplers.guidance.labels import LabelGuidance
from sde_lib.needs import GivenProcess
from sde_lib.settings import Range, checked

Share: TypeAlias = Annotated[float, Range(least=0, most=1)]


@final
class CFGPlusPlus(LabelGuidance[GivenProcess]):
    """CFG++ (Chung et al. 2024, algorithm 2): data predicted with (1 - w) eps + w eps_y, noise put back with no label.

    A step of ``ddim`` is x_s = alpha_s x0_w + sigma_s eps: that of classifier-free guidance with the scale
    w / (1 - (sigma_s / alpha_s) / (sigma_t / alpha_t)), so that w between 0 and 1 is strong guidance. Only ``ddim``
    puts noise back; for other samplers it is classifier-free guidance at w.

    Args:
        model: the model that is guided; it must have been trained with label dropout.
        null_label: the class label that stands for no label.
        scale: the paper's lambda; 0 is the unconditional model.

    Raises:
        ValueError: a scale out of range; no labels.
    """

    @checked
    def __init__(
        self, model: Model[GivenProcess], null_label: int, scale: Share = 0.6, interval: Bounds | None = None
    ) -> None:
        super().__init__(model, null_label, scale, interval)

    @property
    def conditional(self) -> bool:
        return False

    def mixed(self, told: Prediction, untold: Prediction, inside: Tensor | None) -> Prediction:
        mixed, renoise = untold.output + self.scale * (told.output - untold.output), untold.eps
        if inside is not None:
            within = rows(inside, mixed)
            mixed, renoise = torch.where(within, mixed, told.output), torch.where(within, renoise, told.eps)
        return replace(told, output=mixed, renoise=renoise)
