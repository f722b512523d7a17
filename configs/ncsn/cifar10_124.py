"""NCSN on CIFAR-10 with techniques 1, 2 and 4 of Song & Ermon 2020: noise levels and step sizes."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.cifar10()
    processes.ve(config, continuous=False)
    networks.ncsn(config, num_scales=232, snr=0.176, n_steps_each=5, ema_rate=0.0)
    return config
