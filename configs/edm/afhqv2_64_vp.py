"""AFHQv2, 64 pixels, DDPM++: edm-afhqv2-64x64-uncond-vp.pkl."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    config = edm.faces("edm_ddpmpp", dropout=0.25)
    config.data.dataset = "folder"
    config.data.root = "data/afhqv2"
    return config
