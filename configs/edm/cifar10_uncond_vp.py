"""CIFAR-10 without classes, DDPM++: edm-cifar10-32x32-uncond-vp.pkl."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    return edm.cifar10("edm_ddpmpp", classes=False)
