"""Class-conditional CIFAR-10, NCSN++: edm-cifar10-32x32-cond-ve.pkl."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    return edm.cifar10("edm_ncsnpp", classes=True)
