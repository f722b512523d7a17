"""ImageNet, from 128 to 512 pixels, class-conditional: guided-diffusion's 128_512_upsampler.pt."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    config = adm.guided(512, channels=192, attention=(32, 16))
    adm.upsampler(config, low_res_size=128)
    return config
