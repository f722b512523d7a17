"""DDPM on LSUN bedrooms, 256 pixels."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.lsun("bedroom")
    processes.vp(config, continuous=False)
    networks.ddpm_256(config)
    return config
