"""DDPM on CIFAR-10 as diffusers has it: for google/ddpm-cifar10-32."""

from ml_collections import ConfigDict

from configs.shared import images, processes


def get_config() -> ConfigDict:
    config = images.cifar10()
    processes.vp(config, continuous=False)
    config.model.attention_after_every_up_block = True
    config.model.dropout = 0.0
    return config
