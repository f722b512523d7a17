"""NCSN++ on LSUN bedrooms, 256 pixels, continuous VE."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.lsun("bedroom")
    processes.ve(config, continuous=True)
    networks.ncsnpp_256(config)
    return config
