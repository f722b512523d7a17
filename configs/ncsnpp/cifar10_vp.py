"""NCSN++ on CIFAR-10, discrete VP."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.cifar10()
    processes.vp(config, continuous=False)
    networks.ncsnpp_of_index(config)
    config.sampling.predictor = "reverse_diffusion"
    return config
