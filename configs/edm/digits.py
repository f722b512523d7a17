"""Digits as EDM trains them, sampled by Heun's method on Karras's grid."""

from ml_collections import ConfigDict

from configs.ddpm.digits import get_config as digits


def get_config() -> ConfigDict:
    config = digits(steps=930)
    config.training.sde = "edm"
    config.training.times = "log_normal"
    config.training.weighting = "edm"
    config.model.preconditioning = "edm"
    config.model.sigma_data = 0.5
    config.model.sigma_min = 0.002
    config.model.sigma_max = 80.0
    config.model.output = None
    config.sampling.predictor = "heun"
    config.sampling.corrector = "none"
    config.sampling.grid = "karras"
    config.sampling.num_steps = 18
    return config
