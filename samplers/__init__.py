"""Samplers: predictors, correctors, the loop that runs them, and the probability flow."""

from samplers import constraints, correctors, inverse, operators, predictors
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
from samplers.score_sde import get_ode_sampler, get_pc_sampler
from samplers.score_sde_conditional import get_pc_conditional_sampler
from samplers.score_sde_control import get_pc_colorizer, get_pc_inpainter

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
    "constraints",
    "correctors",
    "get_ode_sampler",
    "get_pc_colorizer",
    "get_pc_conditional_sampler",
    "get_pc_inpainter",
    "get_pc_sampler",
    "inverse",
    "operators",
    "predictors",
    "register_corrector",
    "register_predictor",
]
