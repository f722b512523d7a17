"""CIFAR-10 without classes, NCSN++: edm-cifar10-32x32-uncond-ve.pkl."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    return edm.cifar10("edm_ncsnpp", classes=False)
