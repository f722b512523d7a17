"""ImageNet, 256 pixels, class-conditional: guided-diffusion's 256x256_diffusion.pt."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    config = adm.guided(256)
    adm.class_conditional(config)
    return config
