"""Digits as EDM trains them, sampled by Heun's method on Karras's grid."""

from ml_collections import ConfigDict

from configs.shared.digits import digits
from configs.shared.edm import as_edm


def get_config() -> ConfigDict:
    return as_edm(digits(steps=930))
