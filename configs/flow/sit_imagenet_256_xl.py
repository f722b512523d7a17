"""SiT-XL/2 on latents of ImageNet, 256 pixels: SiT-XL-2-256x256.pt."""

from ml_collections import ConfigDict

from configs.shared import dit


def get_config() -> ConfigDict:
    return dit.sit("xl")
