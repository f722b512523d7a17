"""Digits as EDM2 trains: the smallest magnitude-preserving network, its averages kept for post-hoc reconstruction."""

from ml_collections import ConfigDict

from configs.edm.digits import get_config as digits


def get_config() -> ConfigDict:
    config = digits()
    model, optim = config.model, config.optim
    model.name = "edm2"
    model.nf = 32
    model.head_channels = 16
    model.ema_stds = (0.05, 0.10)
    config.training.snapshot_freq = 310
    optim.optimizer = "Adam"
    optim.lr = 1e-2  # of normalised weights, it is a rate of rotation
    return config
