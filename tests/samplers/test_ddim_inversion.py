"""DDIM run from an image to noise and back returns the image, as its order says."""

from __future__ import annotations

import itertools
import math

import torch

from models.exact.mixtures import GaussianMixtureScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from samplers.correctors.none import NoneCorrector
from samplers.pc import PCSampler
from samplers.predictors.ddim import DDIM, ReverseDDIM
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.noise import Noise
from sde_lib.respacing import kept_levels
from sde_lib.schedules import linear_betas

PATTERNS = torch.tensor([[0.5, -0.5, 0.2, 0.8], [-0.7, 0.1, 0.6, -0.3]], dtype=torch.float64)
"""Two images of 2x2; the data are N(pattern, 0.3^2 I), half of each."""


def round_trip_error(steps: int, levels: int) -> float:
    chain = DiscreteDiffusion.ddpm(linear_betas(levels))
    model = NoiseModel(
        GaussianMixtureScore(process=chain, means=PATTERNS, stds=0.3), chain, Time(chain), "score"
    )
    times = torch.tensor(kept_levels(levels, str(steps)))
    noise = Noise(0, range(8), dtype=torch.float64)
    image = (PATTERNS.repeat(4, 1) + 0.3 * noise.normal((8, 4))).reshape(8, 1, 2, 2)
    # Both ends are states at level 0, so no closing estimate.
    up = PCSampler(model, ReverseDDIM(), NoneCorrector(), times)
    down = PCSampler(model, DDIM(), NoneCorrector(), times.flip(0), noise_removal=False)
    latent = up.encode(image, noise).x
    back = image
    for step in down.iterate(latent, noise):
        back = step.x
    return float((back - image).square().mean().sqrt())


def test_round_trip_error_falls_at_first_order() -> None:
    """Both ways are Euler's method, so each doubling of the steps halves the error: slope -1."""
    counts = [125, 250, 500, 1000]
    errors = [round_trip_error(n, 4000) for n in counts]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(0.85 < slope < 1.15 for slope in slopes[1:]), (errors, slopes)
    assert errors[-1] < 0.02, errors
