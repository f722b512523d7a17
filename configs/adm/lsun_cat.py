"""LSUN cats, 256 pixels: guided-diffusion's lsun_cat.pt."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    return adm.lsun("cat")
