"""Guidance: models that wrap another model and change its score, for every sampler and likelihood."""

from samplers.guidance.autoguidance import Autoguidance
from samplers.guidance.cfg_plus_plus import CFGPlusPlus
from samplers.guidance.classifier import ClassifierGuidance, Shift
from samplers.guidance.classifier_free import ClassifierFreeGuidance
from samplers.guidance.gradient import (
    DenoisedLossGuidance,
    LogProbGuidance,
    gradient,
    register_denoised_loss,
    register_log_prob,
)
from samplers.guidance.interval import Interval
from samplers.guidance.projected import ProjectedGuidance
from samplers.guidance.registry import register_guidance

__all__ = [
    "Autoguidance",
    "CFGPlusPlus",
    "ClassifierFreeGuidance",
    "ClassifierGuidance",
    "DenoisedLossGuidance",
    "Interval",
    "LogProbGuidance",
    "ProjectedGuidance",
    "Shift",
    "gradient",
    "register_denoised_loss",
    "register_guidance",
    "register_log_prob",
]
