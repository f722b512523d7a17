"""Digits as EDM2 trains: the smallest magnitude-preserving network, its averages kept for post-hoc reconstruction."""

from ml_collections import ConfigDict

from configs.edm.digits import get_config as digits
from configs.shared.edm import as_edm2


def get_config() -> ConfigDict:
    config = as_edm2(digits(), constant_until=300)
    config.training.snapshot_freq = 310
    return config
