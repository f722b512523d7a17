"""Class-conditional digits with learned variances: the hybrid objective (Nichol and Dhariwal 2021)."""

from ml_collections import ConfigDict

from configs.adm.digits import get_config as fixed


def get_config() -> ConfigDict:
    config = fixed()
    config.model.variance = "learned_range"
    config.training.objective = "hybrid"
    return config
