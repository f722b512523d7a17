"""EDM2-XS on ImageNet, 64 pixels."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    return edm.edm2(64, 128, lr=0.012, mega_images=1024)
