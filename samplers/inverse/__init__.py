"""Models of the posterior given a linear measurement, by name. Importing this package registers ours."""

from samplers.inverse.base import Estimate, PosteriorModel, register_posterior
from samplers.inverse.dps import DPS
from samplers.inverse.moment_matching import MomentMatching
from samplers.inverse.pseudo_inverse import PseudoInverseGuidance

__all__ = [
    "DPS",
    "Estimate",
    "MomentMatching",
    "PosteriorModel",
    "PseudoInverseGuidance",
    "register_posterior",
]
