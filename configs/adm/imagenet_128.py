"""ImageNet, 128 pixels, class-conditional: guided-diffusion's 128x128_diffusion.pt."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    config = adm.guided(128)
    adm.class_conditional(config)
    config.model.num_head_channels = None
    config.model.num_heads = 4
    return config
