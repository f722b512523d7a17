"""Training objectives."""

from losses.base import Loss
from losses.classifier import ClassifierLoss
from losses.denoising import DenoisingLoss
from losses.edm import EDMWeighting, LogNormalTimes
from losses.elbo import ElboLoss
from losses.flow_times import LogitNormalTimes, ModeTimes
from losses.importance import LossSecondMoment
from losses.learned import Learned, LearnedParts
from losses.least_variance import LeastVarianceTimes
from losses.named_times import register_times
from losses.objectives import register_objective
from losses.of_samples import Losses
from losses.snr_weightings import (
    MinSNRWeighting,
    P2Weighting,
    SNRWeighting,
    SoftMinSNRWeighting,
    TruncatedSNRWeighting,
)
from losses.times import StratifiedLevels, StratifiedTimes, TimeSampler, UniformLevels, UniformTimes
from losses.uncertainty import UncertainLoss, uncertain
from losses.vlb import BoundLoss, HybridLoss, OutputLoss
from losses.weightings import (
    DataWeighting,
    EpsWeighting,
    LikelihoodWeighting,
    VelocityWeighting,
    Weighting,
    register_weighting,
)

# Objectives.
__all__ = [
    "BoundLoss",
    "ClassifierLoss",
    "DenoisingLoss",
    "ElboLoss",
    "HybridLoss",
    "Learned",
    "LearnedParts",
    "Loss",
    "Losses",
    "OutputLoss",
    "UncertainLoss",
    "register_objective",
    "uncertain",
]
# Which times are drawn.
__all__ += [
    "LeastVarianceTimes",
    "LogNormalTimes",
    "LogitNormalTimes",
    "LossSecondMoment",
    "ModeTimes",
    "StratifiedLevels",
    "StratifiedTimes",
    "TimeSampler",
    "UniformLevels",
    "UniformTimes",
    "register_times",
]
# What an error is worth at each time.
__all__ += [
    "DataWeighting",
    "EDMWeighting",
    "EpsWeighting",
    "LikelihoodWeighting",
    "MinSNRWeighting",
    "P2Weighting",
    "SNRWeighting",
    "SoftMinSNRWeighting",
    "TruncatedSNRWeighting",
    "VelocityWeighting",
    "Weighting",
    "register_weighting",
]
