"""Data sets of images, with the training and sampling settings that score_sde uses on each."""

from ml_collections import ConfigDict

from configs.base import get_config as default


def cifar10() -> ConfigDict:
    config = default()
    config.data.centered = False
    config.training.reduce_mean = False
    return config


def celeba() -> ConfigDict:
    """64 pixels."""
    config = cifar10()
    config.data.dataset = "CELEBA"
    config.data.image_size = 64
    config.model.sigma_max = 90.0
    config.sampling.snr = 0.17
    return config


def lsun(category: str) -> ConfigDict:
    """256 pixels; bedroom, church_outdoor, ..."""
    config = _large(256)
    config.data.dataset = "LSUN"
    config.data.category = category
    return config


def celebahq(size: int = 256) -> ConfigDict:
    config = _large(size)
    config.data.dataset = "CelebAHQ"
    return config


def ffhq(size: int = 256) -> ConfigDict:
    config = _large(size)
    config.data.dataset = "FFHQ"
    return config


def _large(size: int) -> ConfigDict:
    """256 or 1024 pixels."""
    config = cifar10()
    config.data.image_size = size
    config.model.sigma_max = 378.0 if size == 256 else 1348.0
    config.model.num_scales = 2000
    config.model.dropout = 0.0
    config.training.batch_size = 64 if size == 256 else 8
    config.training.n_iters = 2_400_001
    config.training.snapshot_freq_for_preemption = 5000
    config.sampling.snr = 0.075 if size == 256 else 0.15
    config.eval.batch_size = 512 if size == 256 else 1024
    return config
