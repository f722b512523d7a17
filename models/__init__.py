"""Networks, and what makes a network a model of a process. Importing this package registers ours."""

from models.base import Network, register_model
from models.describe import count_parameters, describe
from models.ema import EMA
from models.exact import correlated_gaussian
from models.exact import mixtures as analytic
from models.networks import adm, adm_encoder, ddpm, ncsn, ncsnpp, ncsnv2
from models.prediction.noise_model import Model, NoiseModel, Prediction

__all__ = [
    "EMA",
    "Model",
    "Network",
    "NoiseModel",
    "Prediction",
    "adm",
    "adm_encoder",
    "analytic",
    "correlated_gaussian",
    "count_parameters",
    "ddpm",
    "describe",
    "ncsn",
    "ncsnpp",
    "ncsnv2",
    "register_model",
]
