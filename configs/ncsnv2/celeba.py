"""NCSNv2 on CelebA, 64 pixels (Song & Ermon 2020)."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.celeba()
    processes.ve(config, continuous=False)
    networks.ncsnv2(config, pixels=64, num_scales=500, snr=0.128, n_steps_each=5)
    return config
