"""The model that the variational bound evaluates: a chain's own, or a continuous process cut into levels."""

from __future__ import annotations

import math

import likelihood.vlb
from models.prediction.cut_levels import CutLevels
from models.prediction.denoised import Clip, Denoised
from models.prediction.noise_model import Model, NoiseModel
from run_lib.data.levels import DataSpec
from run_lib.evaluation.likelihoods import LevelBound
from sde_lib.needs import serves


def build_bound_model(model: NoiseModel, data: DataSpec, bound: LevelBound) -> Model:
    """``eval.bpd_levels`` levels of a continuous process; data that have levels are clipped to their range.

    A network trained on dequantised data does not know that the data have levels. Where noise is weaker than
    the spread within a bin, the steps of its chain would pay for the place there, which no level needs: of
    levels, the chain ends at that noise, and the last step's decoder gives the bin its probability.

    A process with neither levels nor a Gaussian marginal stays as it is: whoever asks for its bound is refused.
    """
    bins, last_noise = data.bins, None
    if bins is not None and data.dequantize and bound.bound_of == "levels":
        last_noise = 2 * bins.half_width / math.sqrt(12)
    cut = CutLevels(bound.levels, last_noise)
    if serves(model.process, cut) and not isinstance(model.process, likelihood.vlb.NEEDS):
        model = cut(model)
    return Denoised(model, Clip(*data.limits)) if bound.clip and data.levels else model
