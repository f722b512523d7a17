"""DDPM on CIFAR-10 whose network is not told the time."""

from ml_collections import ConfigDict

from configs.shared import images, processes


def get_config() -> ConfigDict:
    config = images.cifar10()
    processes.vp(config, continuous=False)
    config.model.conditional = False
    return config
