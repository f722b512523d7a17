"""ImageNet, from 64 to 256 pixels, class-conditional: guided-diffusion's 64_256_upsampler.pt."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    config = adm.guided(256, channels=192)
    adm.upsampler(config)
    config.model.num_head_channels = None
    config.model.num_heads = 4
    return config
