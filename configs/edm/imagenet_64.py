"""Class-conditional ImageNet, 64 pixels, ADM: edm-imagenet-64x64-cond-adm.pkl."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    return edm.imagenet_64()
