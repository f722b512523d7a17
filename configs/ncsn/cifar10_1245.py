"""NCSN on CIFAR-10 with techniques 1, 2, 4 and 5 of Song & Ermon 2020."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.cifar10()
    processes.ve(config, continuous=False)
    networks.ncsn(config, num_scales=232, snr=0.176, n_steps_each=5)
    return config
