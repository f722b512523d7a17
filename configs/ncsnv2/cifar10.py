"""NCSNv2 on CIFAR-10 (Song & Ermon 2020)."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.cifar10()
    processes.ve(config, continuous=False)
    networks.ncsnv2(config, pixels=64, num_scales=232, snr=0.176, n_steps_each=5)
    return config
