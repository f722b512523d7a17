"""DDPM on LSUN churches, 256 pixels."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.lsun("church_outdoor")
    processes.vp(config, continuous=False)
    networks.ddpm_256(config)
    return config
