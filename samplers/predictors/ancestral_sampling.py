"""Ancestral sampling: the forward process's posterior at the predicted data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.prediction.reverse import Variance, reverse_step
from samplers.base import GaussianModel, Predictor, Step, register_predictor
from sde_lib.base import GaussianProcess, coefficients
from sde_lib.noise import Noise


@register_predictor(name="ancestral_sampling")
@dataclass(frozen=True)
class AncestralSampling(Predictor[GaussianProcess]):
    """x_s ~ q(x_s | x_t, x_0 = prediction) (Ho et al. 2020, eq. 6-7; Song et al. 2021, appendix F).

    It works between any two times of any process with a Gaussian marginal, continuous or discrete. Weak order 1.

    Args:
        variance: variance of a step: that of the posterior (``small``), that of the forward step (``large``), or that
            which the network predicts (``learned``); ``auto`` is ``learned`` where the network predicts one and
            ``small`` elsewhere.
    """

    at_pure_noise = True
    variance: Variance = "auto"

    def update_fn(self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        process = model.process
        step = reverse_step(process, model(x, t), t, s, self.variance)
        noisy = torch.addcmul(step.mean, (step.log_variance / 2).exp(), noise.normal(x.shape))
        # Clean data have no noise, whatever variance closes the chain.
        return Step(torch.where(coefficients(x, _is_noisy, process, s), noisy, step.mean), step.mean)


def _is_noisy(process: GaussianProcess, s: Tensor) -> Tensor:
    return s != process.clean
