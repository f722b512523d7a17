"""ImageNet, 512 pixels, class-conditional: guided-diffusion's 512x512_diffusion.pt."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    config = adm.guided(512)
    adm.class_conditional(config)
    return config
