"""NCSN++ on CelebA, 64 pixels, discrete VE."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.celeba()
    processes.ve(config, continuous=False)
    networks.ncsnpp_of_index(config)
    return config
