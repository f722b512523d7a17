"""NCSN on CIFAR-10 (Song & Ermon 2019): 10 levels, no averaged weights."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.cifar10()
    processes.ve(config, continuous=False)
    networks.ncsn(config, num_scales=10, snr=0.316, n_steps_each=100, ema_rate=0.0)
    config.model.sigma_max = 1.0
    return config
