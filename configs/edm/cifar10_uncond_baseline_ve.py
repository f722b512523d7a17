"""Score_sde's NCSN++ as a denoiser: baseline-cifar10-32x32-uncond-ve.pkl."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    config = edm.cifar10("edm_ncsnpp", classes=False)
    edm.baseline(config, "edm_ve")
    return config
