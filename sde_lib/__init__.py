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
    expand,
    register_sde,
)
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.edm import EDM
from sde_lib.noise import Noise
from sde_lib.subvp import subVPSDE
from sde_lib.ve import VESDE
from sde_lib.vp import VPSDE

__all__ = [
    "EDM",
    "SDE",
    "VESDE",
    "VPSDE",
    "Coefficients",
    "DiscreteDiffusion",
    "GaussianProcess",
    "GaussianSDE",
    "Marginal",
    "Noise",
    "Perturbed",
    "Posterior",
    "Process",
    "Transition",
    "expand",
    "register_sde",
    "subVPSDE",
]
