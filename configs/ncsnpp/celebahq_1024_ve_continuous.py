"""NCSN++ on CelebA-HQ, 1024 pixels, continuous VE."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.celebahq(1024)
    processes.ve(config, continuous=True)
    networks.ncsnpp_1024(config)
    return config
