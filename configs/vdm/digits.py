"""Digits for their likelihood, with the network of ``ddpm/digits``."""

from ml_collections import ConfigDict

from configs.shared.digits import digits
from configs.shared.vdm import as_vdm


def get_config() -> ConfigDict:
    return as_vdm(digits(steps=1_700))
