"""What the configurations of exact scores share: data drawn from the density itself, nothing to train."""

from ml_collections import ConfigDict

from configs.base import get_config as default


def _base() -> ConfigDict:
    config = default()
    data = config.data
    data.dataset = "exact"
    data.levels = 0
    data.random_flip = False

    sampling = config.sampling
    sampling.predictor = "ancestral_sampling"
    sampling.num_steps = 200
    sampling.grid = "log_snr"
    sampling.num_samples = 1000
    sampling.batch_size = 1000

    evaluation = config.eval
    evaluation.enable_bpd = True
    evaluation.enable_sampling = True
    evaluation.num_samples = 2000
    evaluation.bpd_num_images = 500
    return config


def plane() -> ConfigDict:
    """Points of the plane."""
    config = _base()
    config.data.shape = (2,)
    config.sampling.grid_size = 1000
    config.eval.bpd_divergence = "exact"
    return config


def images(size: int) -> ConfigDict:
    """Images of one channel."""
    config = _base()
    config.data.image_size = size
    config.data.num_channels = 1
    return config
