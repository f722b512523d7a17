"""Training objectives."""

from losses.base import Loss, Losses
from losses.classifier import ClassifierLoss
from losses.denoising import DenoisingLoss
from losses.edm import EDMWeighting, LogNormalTimes
from losses.importance import LossSecondMoment
from losses.times import StratifiedLevels, StratifiedTimes, TimeSampler, UniformLevels, UniformTimes
from losses.vlb import BoundLoss, HybridLoss, OutputLoss
from losses.weightings import Weighting, register_weighting

__all__ = [
    "BoundLoss",
    "ClassifierLoss",
    "DenoisingLoss",
    "EDMWeighting",
    "HybridLoss",
    "LogNormalTimes",
    "Loss",
    "LossSecondMoment",
    "Losses",
    "OutputLoss",
    "StratifiedLevels",
    "StratifiedTimes",
    "TimeSampler",
    "UniformLevels",
    "UniformTimes",
    "Weighting",
    "register_weighting",
]
