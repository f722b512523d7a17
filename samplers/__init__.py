"""Samplers: predictors, correctors, the loop that runs them, and the probability flow."""

from samplers import correctors, predictors
from samplers.ancestor import get_ode_sampler, get_pc_sampler
from samplers.base import (
    Advance,
    Constraint,
    Corrector,
    Evaluation,
    Memory,
    MultistepPredictor,
    Predictor,
    Step,
    register_corrector,
    register_predictor,
)
from samplers.ode import ODESampler
from samplers.pc import PCSampler, SampleResult

__all__ = [
    "Advance",
    "Constraint",
    "Corrector",
    "Evaluation",
    "Memory",
    "MultistepPredictor",
    "ODESampler",
    "PCSampler",
    "Predictor",
    "SampleResult",
    "Step",
    "correctors",
    "get_ode_sampler",
    "get_pc_sampler",
    "predictors",
    "register_corrector",
    "register_predictor",
]
