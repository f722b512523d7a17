"""ImageNet, 256 pixels: guided-diffusion's 256x256_diffusion_uncond.pt."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    return adm.guided(256)
