"""Training objectives."""

from losses.denoising import DenoisingLoss, Losses
from losses.times import StratifiedTimes, TimeSampler, UniformLevels, UniformTimes
from losses.weightings import Weighting, register_weighting

__all__ = [
    "DenoisingLoss",
    "Losses",
    "StratifiedTimes",
    "TimeSampler",
    "UniformLevels",
    "UniformTimes",
    "Weighting",
    "register_weighting",
]
