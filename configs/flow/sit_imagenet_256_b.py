"""SiT-B/2 on latents of ImageNet, 256 pixels."""

from ml_collections import ConfigDict

from configs.shared import dit


def get_config() -> ConfigDict:
    return dit.sit("b")
