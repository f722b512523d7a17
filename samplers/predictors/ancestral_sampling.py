"""Ancestral sampling: the forward process's posterior at the predicted data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from models.noise_model import Model
from samplers.base import Predictor, Step, register_predictor
from sde_lib.base import GaussianProcess, expand
from sde_lib.noise import Noise


@register_predictor(name="ancestral_sampling")
@dataclass(frozen=True)
class AncestralSampling(Predictor):
    """x_s ~ q(x_s | x_t, x_0 = prediction) (Ho et al. 2020, eq. 6-7; Song et al. 2021, appendix F).

    Any two times of any Gaussian process, continuous or discrete. Weak order 1.
    """

    needs: ClassVar[type] = GaussianProcess

    def update_fn(self, model: Model, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        process: GaussianProcess = model.process  # type: ignore[assignment]
        posterior = process.posterior(x, model(x, t).x0, t, s)
        return Step(posterior.mean + expand(posterior.std, x) * noise.normal(x.shape), posterior.mean)
