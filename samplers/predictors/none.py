"""No predictor: the corrector does all the work."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from models.prediction.noise_model import Model
from samplers.base import Predictor, Step, register_predictor
from sde_lib.noise import Noise


@register_predictor(name="none")
@dataclass(frozen=True)
class NonePredictor(Predictor):
    """x_s = x_t."""

    at_pure_noise = True

    @property
    def evaluations(self) -> int:
        return 0

    def update_fn(self, model: Model, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        return Step(x, x)
