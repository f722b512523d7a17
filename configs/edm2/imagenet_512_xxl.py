"""EDM2-XXL on latents of ImageNet, 512 pixels."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    return edm.edm2(512, 448, lr=0.0065, mega_images=896, dropout=0.1)
