"""EDM2-XS on latents of ImageNet, 512 pixels."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    return edm.edm2(512, 128, lr=0.012, mega_images=2048)
