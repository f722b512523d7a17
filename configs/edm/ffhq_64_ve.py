"""FFHQ, 64 pixels, NCSN++: edm-ffhq-64x64-uncond-ve.pkl."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    config = edm.faces("edm_ncsnpp", dropout=0.05)
    config.data.dataset = "FFHQ"
    return config
