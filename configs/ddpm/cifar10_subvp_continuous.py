"""The DDPM network on CIFAR-10, continuous subVP."""

from ml_collections import ConfigDict

from configs.shared import images, processes


def get_config() -> ConfigDict:
    config = images.cifar10()
    processes.subvp(config)
    return config
