"""The DDPM network on CIFAR-10, discrete VE."""

from ml_collections import ConfigDict

from configs.shared import images, processes


def get_config() -> ConfigDict:
    config = images.cifar10()
    processes.ve(config, continuous=False)
    config.model.scale_by_sigma = True
    return config
