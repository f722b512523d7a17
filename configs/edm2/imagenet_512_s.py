"""EDM2-S on latents of ImageNet, 512 pixels."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    return edm.edm2(512, 192, lr=0.01, mega_images=2048)
