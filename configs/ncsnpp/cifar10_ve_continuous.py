"""NCSN++ on CIFAR-10, continuous VE."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.cifar10()
    processes.ve(config, continuous=True)
    networks.ncsnpp(config)
    return config
