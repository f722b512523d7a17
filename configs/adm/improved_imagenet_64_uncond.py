"""ImageNet, 64 pixels: improved-diffusion's imagenet64_uncond_100M_1500K.pt;
imagenet64_uncond_vlb_100M_1500K.pt has the
same network and chain."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    return adm.improved(64)
