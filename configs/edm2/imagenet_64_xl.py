"""EDM2-XL on ImageNet, 64 pixels."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    return edm.edm2(64, 384, lr=0.007, mega_images=640, dropout=0.1)
