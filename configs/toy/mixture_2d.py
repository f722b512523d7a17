"""Eight Gaussians on a circle, with their exact score: samples and likelihoods without training."""

import math

from ml_collections import ConfigDict

from configs.shared import toy


def get_config() -> ConfigDict:
    config = toy.plane()
    model = config.model
    model.name = "gaussian_mixture"
    model.means = tuple((math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)) for k in range(8))
    model.stds = 0.05
    return config
