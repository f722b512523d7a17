"""EDM2-M on ImageNet, 64 pixels."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    return edm.edm2(64, 256, lr=0.009, mega_images=2048, dropout=0.1)
