"""NCSN on CelebA, 64 pixels with technique 5 of Song & Ermon 2020: averaged weights."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.celeba()
    processes.ve(config, continuous=False)
    networks.ncsn(config, num_scales=10, snr=0.316, n_steps_each=100)
    config.model.sigma_max = 1.0
    return config
