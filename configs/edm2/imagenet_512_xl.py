"""EDM2-XL on latents of ImageNet, 512 pixels."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    return edm.edm2(512, 384, lr=0.007, mega_images=1280, dropout=0.1)
