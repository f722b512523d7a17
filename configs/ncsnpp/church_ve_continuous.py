"""NCSN++ on LSUN churches, 256 pixels, continuous VE."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.lsun("church_outdoor")
    processes.ve(config, continuous=True)
    networks.ncsnpp_256(config)
    config.model.sigma_max = 380.0
    return config
