"""Networks, and what makes a network a model of a process.

The names below are the library's. Networks, exact scores and checkpoints are imported when they are first
asked for, so that what needs none of them, such as the samplers, starts at once. ``register_model`` knows all
networks from its first look-up on.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from models.base import Network, register_model
from models.describe import Description, count_parameters, describe
from models.ema import EMA
from models.prediction.noise_model import Model, NoiseModel, Prediction

if TYPE_CHECKING:
    from models.checkpoints.base import Family, register_family
    from models.checkpoints.diffusers import describe_folder, export_diffusers
    from models.checkpoints.diffusers_model import load_diffusers
    from models.checkpoints.loader import LoadedWeights, load_weights
    from models.checkpoints.training import TrainingCheckpoint, load_training
    from models.exact.correlated_gaussian import CorrelatedGaussianScore
    from models.exact.mixtures import ExactScore, GaussianMixtureScore, GaussianScore, MixtureClassifier
    from models.networks.adm import ADM, ADMSuperRes
    from models.networks.adm_encoder import ADMEncoder
    from models.networks.ddpm import DDPM
    from models.networks.ddpm_1d import DDPM1D
    from models.networks.ddpmpp import DDPMpp
    from models.networks.dit import DiT
    from models.networks.edm import EDMPreconditioned
    from models.networks.edm2 import EDM2
    from models.networks.edm_baselines import IDDPMPreconditioned, VEPreconditioned, VPPreconditioned
    from models.networks.edm_unets import EDMADM, EDMDDPMpp, EDMNCSNpp
    from models.networks.mlp import MLP
    from models.networks.ncsn import NCSN
    from models.networks.ncsnpp import NCSNpp
    from models.networks.ncsnv2 import NCSNv2
    from models.networks.variant import Variant
    from models.prediction.bound import bound_term, prior_term
    from models.prediction.classifier import Classifier, NoisyClassifier
    from models.prediction.conventions import Convention, Setting, convention, register_convention
    from models.prediction.cut_levels import CutLevels
    from models.prediction.denoised import Clip, Denoised, DynamicThreshold, register_denoised_fn
    from models.prediction.reverse import ReverseStep, reverse_step
    from models.prediction.time_encoding import ChainIndex, FractionalIndex, NoiseLevel, Time, TimeEncoding

__all__ = [  # noqa: RUF022 - grouped
    # what a network is, and its average
    "EMA",
    "Network",
    "Variant",
    "register_model",
    # networks
    "ADM",
    "ADMEncoder",
    "ADMSuperRes",
    "DDPM",
    "DDPMpp",
    "DDPM1D",
    "DiT",
    "EDM2",
    "EDMADM",
    "EDMDDPMpp",
    "EDMNCSNpp",
    "EDMPreconditioned",
    "IDDPMPreconditioned",
    "MLP",
    "NCSN",
    "NCSNpp",
    "NCSNv2",
    "VEPreconditioned",
    "VPPreconditioned",
    # exact scores
    "CorrelatedGaussianScore",
    "ExactScore",
    "GaussianMixtureScore",
    "GaussianScore",
    "MixtureClassifier",
    # a network as a model of a process
    "Classifier",
    "Model",
    "NoiseModel",
    "NoisyClassifier",
    "Prediction",
    "ReverseStep",
    "bound_term",
    "prior_term",
    "reverse_step",
    # which labels a network is fed, and what it outputs
    "ChainIndex",
    "Convention",
    "FractionalIndex",
    "NoiseLevel",
    "Setting",
    "Time",
    "TimeEncoding",
    "convention",
    "register_convention",
    # models that wrap another
    "Clip",
    "CutLevels",
    "Denoised",
    "DynamicThreshold",
    "register_denoised_fn",
    # published weights
    "Family",
    "LoadedWeights",
    "TrainingCheckpoint",
    "describe_folder",
    "export_diffusers",
    "load_diffusers",
    "load_training",
    "load_weights",
    "register_family",
    # what a network costs
    "Description",
    "count_parameters",
    "describe",
]

_NAMES = {
    "checkpoints.base": ("Family", "register_family"),
    "checkpoints.diffusers": ("describe_folder", "export_diffusers"),
    "checkpoints.diffusers_model": ("load_diffusers",),
    "checkpoints.loader": ("LoadedWeights", "load_weights"),
    "checkpoints.training": ("TrainingCheckpoint", "load_training"),
    "exact.correlated_gaussian": ("CorrelatedGaussianScore",),
    "exact.mixtures": ("ExactScore", "GaussianMixtureScore", "GaussianScore", "MixtureClassifier"),
    "networks.adm": ("ADM", "ADMSuperRes"),
    "networks.adm_encoder": ("ADMEncoder",),
    "networks.ddpm": ("DDPM",),
    "networks.ddpm_1d": ("DDPM1D",),
    "networks.ddpmpp": ("DDPMpp",),
    "networks.dit": ("DiT",),
    "networks.edm2": ("EDM2",),
    "networks.edm": ("EDMPreconditioned",),
    "networks.edm_baselines": ("IDDPMPreconditioned", "VEPreconditioned", "VPPreconditioned"),
    "networks.edm_unets": ("EDMADM", "EDMDDPMpp", "EDMNCSNpp"),
    "networks.mlp": ("MLP",),
    "networks.ncsn": ("NCSN",),
    "networks.ncsnpp": ("NCSNpp",),
    "networks.ncsnv2": ("NCSNv2",),
    "networks.variant": ("Variant",),
    "prediction.bound": ("bound_term", "prior_term"),
    "prediction.classifier": ("Classifier", "NoisyClassifier"),
    "prediction.conventions": ("Convention", "Setting", "convention", "register_convention"),
    "prediction.cut_levels": ("CutLevels",),
    "prediction.denoised": ("Clip", "Denoised", "DynamicThreshold", "register_denoised_fn"),
    "prediction.reverse": ("ReverseStep", "reverse_step"),
    "prediction.time_encoding": ("ChainIndex", "FractionalIndex", "NoiseLevel", "Time", "TimeEncoding"),
}
"""The names that are imported when they are asked for, by their module."""

_HOME = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _register_networks() -> None:
    import models.exact.correlated_gaussian
    import models.exact.mixtures
    import models.networks.adm
    import models.networks.adm_encoder
    import models.networks.ddpm
    import models.networks.ddpm_1d
    import models.networks.ddpmpp
    import models.networks.dit
    import models.networks.edm2
    import models.networks.edm_unets
    import models.networks.mlp
    import models.networks.ncsn
    import models.networks.ncsnpp
    import models.networks.ncsnv2  # noqa: F401 - registers


register_model.provided_by(_register_networks)
