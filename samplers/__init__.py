"""Samplers: predictors, correctors, the loop that runs them, and the probability flow."""

from samplers import correctors, predictors
from samplers.base import (
    Constraint,
    Corrector,
    Predictor,
    Step,
    register_corrector,
    register_predictor,
)
from samplers.ode import ODESampler
from samplers.pc import PCSampler, SampleResult

__all__ = [
    "Constraint",
    "Corrector",
    "ODESampler",
    "PCSampler",
    "Predictor",
    "SampleResult",
    "Step",
    "correctors",
    "predictors",
    "register_corrector",
    "register_predictor",
]
