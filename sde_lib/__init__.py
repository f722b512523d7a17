"""Forward processes, time grids, noise streams and integrators: the mathematics, free of networks."""

from sde_lib.base import (
    SDE,
    Coefficients,
    GaussianProcess,
    GaussianSDE,
    Marginal,
    Perturbed,
    Posterior,
    Process,
    Transition,
    coefficients,
    expand,
    register_sde,
)
from sde_lib.brownian import BrownianPath
from sde_lib.chain_sde import InterpolatedChain
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.edm import EDM
from sde_lib.flow import Flow
from sde_lib.gaussian import Bins
from sde_lib.grids import (
    Blend,
    Cosine,
    Density,
    Explicit,
    Grid,
    Karras,
    LogSNR,
    Quadratic,
    Respaced,
    TimeShift,
    Uniform,
    register_grid,
)
from sde_lib.integrate import Outcome, Solution, integrate, integrate_scipy
from sde_lib.noise import Noise
from sde_lib.registry import Registry
from sde_lib.respacing import kept_levels
from sde_lib.schedules import (
    cosine_betas,
    geometric_sigmas,
    linear_betas,
    scaled_linear_betas,
    zero_snr_betas,
)
from sde_lib.settings import Range, Setting, check_settings, checked, settings_of
from sde_lib.subvp import subVPSDE
from sde_lib.vdm import VDM
from sde_lib.ve import VESDE
from sde_lib.vp import VPSDE

# Forward processes.
__all__ = ["EDM", "VDM", "VESDE", "VPSDE", "DiscreteDiffusion", "Flow", "InterpolatedChain", "subVPSDE"]
# What a process is, for one of your own.
__all__ += [
    "SDE",
    "Coefficients",
    "GaussianProcess",
    "GaussianSDE",
    "Marginal",
    "Perturbed",
    "Posterior",
    "Process",
    "Transition",
    "coefficients",
    "expand",
    "register_sde",
]
# Noise schedules of chains.
__all__ += [
    "cosine_betas",
    "geometric_sigmas",
    "kept_levels",
    "linear_betas",
    "scaled_linear_betas",
    "zero_snr_betas",
]
# Time grids.
__all__ += [
    "Blend",
    "Cosine",
    "Density",
    "Explicit",
    "Grid",
    "Karras",
    "LogSNR",
    "Quadratic",
    "Respaced",
    "TimeShift",
    "Uniform",
    "register_grid",
]
# Random numbers, and data of finitely many levels.
__all__ += ["Bins", "BrownianPath", "Noise"]
# Integrators of ordinary differential equations.
__all__ += ["Outcome", "Solution", "integrate", "integrate_scipy"]
# Components by name, and their settings.
__all__ += ["Range", "Registry", "Setting", "check_settings", "checked", "settings_of"]
