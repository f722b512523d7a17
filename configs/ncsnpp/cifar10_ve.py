"""NCSN++ on CIFAR-10, discrete VE."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.cifar10()
    processes.ve(config, continuous=False)
    networks.ncsnpp_of_index(config)
    return config
