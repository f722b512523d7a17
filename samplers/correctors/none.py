"""No corrector."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from models.prediction.noise_model import Model
from samplers.base import Corrector, Step, register_corrector
from sde_lib.noise import Noise


@register_corrector(name="none")
@dataclass(frozen=True)
class NoneCorrector(Corrector):
    """x stays."""

    def update_fn(self, model: Model, x: Tensor, t: Tensor, noise: Noise) -> Step:
        return Step(x, x)
