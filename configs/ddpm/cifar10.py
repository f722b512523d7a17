"""DDPM on CIFAR-10 (Ho et al. 2020), as score_sde trains it: 1000 discrete levels."""

from ml_collections import ConfigDict

from configs.shared import images, processes


def get_config() -> ConfigDict:
    config = images.cifar10()
    processes.vp(config, continuous=False)
    return config
