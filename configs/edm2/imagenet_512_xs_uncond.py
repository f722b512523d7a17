"""EDM2-XS without classes, with which others are guided."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    config = edm.edm2(512, 128, lr=0.012, mega_images=2048)
    config.model.num_classes = 0
    return config
