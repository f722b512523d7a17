"""DDPM on CelebA-HQ, 256 pixels, as diffusers has it: for google/ddpm-celebahq-256."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.celebahq()
    processes.vp(config, continuous=False)
    networks.ddpm_256(config)
    config.model.attention_after_every_up_block = True
    return config
