"""LSUN horses, 256 pixels, trained without dropout: guided-diffusion's lsun_horse_nodropout.pt."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    config = adm.lsun("horse")
    config.model.dropout = 0.0
    return config
