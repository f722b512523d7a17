"""Training objectives."""

from losses.denoising import DenoisingLoss, Losses
from losses.edm import EDMWeighting, LogNormalTimes
from losses.times import StratifiedTimes, TimeSampler, UniformLevels, UniformTimes
from losses.weightings import Weighting, register_weighting

__all__ = [
    "DenoisingLoss",
    "EDMWeighting",
    "LogNormalTimes",
    "Losses",
    "StratifiedTimes",
    "TimeSampler",
    "UniformLevels",
    "UniformTimes",
    "Weighting",
    "register_weighting",
]
