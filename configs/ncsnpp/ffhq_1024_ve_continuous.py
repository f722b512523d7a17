"""NCSN++ on FFHQ, 1024 pixels, continuous VE."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.ffhq(1024)
    processes.ve(config, continuous=True)
    networks.ncsnpp_1024(config)
    config.training.reduce_mean = True
    return config
