"""AFHQv2, 64 pixels, NCSN++: edm-afhqv2-64x64-uncond-ve.pkl."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    config = edm.faces("edm_ncsnpp", dropout=0.25)
    config.data.dataset = "folder"
    config.data.root = "data/afhqv2"
    return config
