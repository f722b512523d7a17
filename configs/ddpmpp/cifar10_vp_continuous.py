"""DDPM++ on CIFAR-10, continuous VP."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.cifar10()
    processes.vp(config, continuous=True)
    networks.ddpmpp(config)
    return config
