"""Score_sde's DDPM++ as a denoiser: baseline-cifar10-32x32-uncond-vp.pkl."""

from ml_collections import ConfigDict

from configs.shared import edm


def get_config() -> ConfigDict:
    config = edm.cifar10("edm_ddpmpp", classes=False)
    edm.baseline(config, "edm_vp")
    return config
