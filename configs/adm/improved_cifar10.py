"""CIFAR-10: improved-diffusion's cifar10_uncond_50M_500K.pt; cifar10_uncond_vlb_50M_500K.pt has the same
network and chain."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    config = adm.improved(32)
    config.data.dataset = "CIFAR10"
    config.model.dropout = 0.3
    return config
