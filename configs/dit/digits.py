"""Digits by the smallest DiT: patches of 2 pixels, four blocks."""

from ml_collections import ConfigDict

from configs.shared.digits import digits


def get_config() -> ConfigDict:
    config = digits(steps=930)
    model = config.model
    model.name = "dit"
    model.nf = 96
    model.depth = 4
    model.num_heads = 4
    model.patch_size = 2
    config.optim.lr = 1e-3
    return config
