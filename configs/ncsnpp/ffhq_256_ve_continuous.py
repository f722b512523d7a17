"""NCSN++ on FFHQ, 256 pixels, continuous VE."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.ffhq()
    processes.ve(config, continuous=True)
    networks.ncsnpp_256(config)
    config.model.sigma_max = 348.0
    return config
