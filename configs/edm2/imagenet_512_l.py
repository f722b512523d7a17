"""EDM2-L on latents of ImageNet, 512 pixels."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    return edm.edm2(512, 320, lr=0.008, mega_images=1792, dropout=0.1)
