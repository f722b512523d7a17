"""Samplers: predictors, correctors, the loop that runs them, and the probability flow."""

from samplers import constraints, correctors, guidance, inverse, operators, predictors
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
from samplers.bespoke import BespokeSolver, optimise_bespoke
from samplers.constraints import Replacement, repaint
from samplers.correctors.ald import AnnealedLangevin
from samplers.correctors.langevin import Langevin
from samplers.correctors.none import NoneCorrector
from samplers.editing import DDIMInversion, interpolate, sdedit, slerp
from samplers.guidance import (
    Autoguidance,
    CFGPlusPlus,
    ClassifierFreeGuidance,
    ClassifierGuidance,
    DenoisedLossGuidance,
    LogProbGuidance,
    ProjectedGuidance,
    register_denoised_loss,
    register_guidance,
    register_log_prob,
)
from samplers.inverse import DPS, MomentMatching, PosteriorModel, PseudoInverseGuidance, register_posterior
from samplers.ode import ODESampler
from samplers.operators import (
    Blur,
    Downsample,
    Fourier,
    Grey,
    LinearOperator,
    Mask,
    Matrix,
    register_operator,
)
from samplers.pc import PCSampler, SampleResult
from samplers.pilot import OptimisedGrid, optimise_grid
from samplers.predictors.adams import ExponentialAdams
from samplers.predictors.adaptive_sde import AdaptiveSDE
from samplers.predictors.ancestral_sampling import AncestralSampling
from samplers.predictors.bespoke import Bespoke
from samplers.predictors.ddim import DDIM, ReverseDDIM
from samplers.predictors.deis import DEIS, LinearMultistep
from samplers.predictors.dpm_solver import DPMSolverMultistep, DPMSolverSinglestep, SDEDPMSolverMultistep
from samplers.predictors.euler_maruyama import EulerMaruyama
from samplers.predictors.heun import Heun
from samplers.predictors.interpolant import InterpolantSDE
from samplers.predictors.none import NonePredictor
from samplers.predictors.restart import Restart
from samplers.predictors.reverse_diffusion import ReverseDiffusion
from samplers.predictors.sa_solver import SASolver
from samplers.predictors.seeds import SEEDS
from samplers.predictors.unipc import UniPC
from samplers.score_sde import (
    get_ode_sampler,
    get_pc_colorizer,
    get_pc_conditional_sampler,
    get_pc_inpainter,
    get_pc_sampler,
)

# Samplers.
__all__ = ["ODESampler", "PCSampler", "SampleResult"]
# Predictors.
__all__ += [
    "DDIM",
    "DEIS",
    "SEEDS",
    "AdaptiveSDE",
    "AncestralSampling",
    "Bespoke",
    "DPMSolverMultistep",
    "DPMSolverSinglestep",
    "EulerMaruyama",
    "ExponentialAdams",
    "Heun",
    "InterpolantSDE",
    "LinearMultistep",
    "NonePredictor",
    "Restart",
    "ReverseDDIM",
    "ReverseDiffusion",
    "SASolver",
    "SDEDPMSolverMultistep",
    "UniPC",
]
# Correctors.
__all__ += ["AnnealedLangevin", "Langevin", "NoneCorrector"]
# What these are, for one of your own.
__all__ += [
    "Advance",
    "Constraint",
    "Corrector",
    "Evaluation",
    "Memory",
    "MultistepPredictor",
    "Predictor",
    "Step",
    "register_corrector",
    "register_predictor",
]
# Guidance.
__all__ += [
    "Autoguidance",
    "CFGPlusPlus",
    "ClassifierFreeGuidance",
    "ClassifierGuidance",
    "DenoisedLossGuidance",
    "LogProbGuidance",
    "ProjectedGuidance",
    "register_denoised_loss",
    "register_guidance",
    "register_log_prob",
]
# Inverse problems: linear measurements, and methods that sample given one.
__all__ += [
    "DPS",
    "Blur",
    "Downsample",
    "Fourier",
    "Grey",
    "LinearOperator",
    "Mask",
    "Matrix",
    "MomentMatching",
    "PosteriorModel",
    "PseudoInverseGuidance",
    "Replacement",
    "register_operator",
    "register_posterior",
    "repaint",
]
# Editing of given images.
__all__ += ["DDIMInversion", "interpolate", "sdedit", "slerp"]
# Grids and solvers that are optimised for a model.
__all__ += ["BespokeSolver", "OptimisedGrid", "optimise_bespoke", "optimise_grid"]
# score_sde's entry points.
__all__ += [
    "get_ode_sampler",
    "get_pc_colorizer",
    "get_pc_conditional_sampler",
    "get_pc_inpainter",
    "get_pc_sampler",
]
# Subpackages.
__all__ += ["constraints", "correctors", "guidance", "inverse", "operators", "predictors"]
