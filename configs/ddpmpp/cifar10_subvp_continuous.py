"""DDPM++ on CIFAR-10, continuous subVP."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.cifar10()
    processes.subvp(config)
    networks.ddpmpp(config)
    return config
