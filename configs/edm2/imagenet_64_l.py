"""EDM2-L on ImageNet, 64 pixels."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    return edm.edm2(64, 320, lr=0.008, mega_images=1024, dropout=0.1)
