"""NCSN on CelebA, 64 pixels with techniques 1, 2, 4 and 5 of Song & Ermon 2020."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.celeba()
    processes.ve(config, continuous=False)
    networks.ncsn(config, num_scales=500, snr=0.128, n_steps_each=5)
    return config
