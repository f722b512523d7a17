"""FFHQ, 64 pixels, DDPM++: edm-ffhq-64x64-uncond-vp.pkl."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    config = edm.faces("edm_ddpmpp", dropout=0.05)
    config.data.dataset = "FFHQ"
    return config
