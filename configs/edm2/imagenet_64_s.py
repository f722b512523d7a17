"""EDM2-S on ImageNet, 64 pixels."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    return edm.edm2(64, 192, lr=0.01, mega_images=1024)
