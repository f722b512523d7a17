"""A Gaussian in the plane, with its exact score: samples and likelihoods without training."""

from ml_collections import ConfigDict

from configs.shared import toy


def get_config() -> ConfigDict:
    config = toy.plane()
    model = config.model
    model.name = "gaussian"
    with model.ignore_type():
        model.mean = (1.0, -0.5)
        model.std = (0.5, 0.2)
    return config
