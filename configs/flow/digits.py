"""Digits by flow matching, with the network of ``ddpm/digits``."""

from ml_collections import ConfigDict

from configs.shared.digits import digits
from configs.shared.flow import as_flow


def get_config() -> ConfigDict:
    return as_flow(digits(steps=1_700))
