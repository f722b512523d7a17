"""DDPM on CIFAR-10 (Ho et al. 2020), as score_sde trains it: 1000 discrete levels."""

from ml_collections import ConfigDict

from configs.base import get_config as default


def get_config() -> ConfigDict:
    config = default()
    config.training.continuous = False
    config.sampling.predictor = "ancestral_sampling"
    return config
