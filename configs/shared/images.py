"""Data sets of images, with the training and sampling settings that score_sde uses on each."""

from ml_collections import ConfigDict

from configs.base import get_config as default


def cifar10() -> ConfigDict:
    """32 pixels; with score_sde's settings of the components that its files choose from."""
    config = default()
    config.data.centered = False
    config.training.reduce_mean = False
    model, optim, sampling = config.model, config.optim, config.sampling
    model.beta_min, model.beta_max = 0.1, 20.0
    model.sigma_min, model.sigma_max = 0.01, 50.0
    model.dropout = 0.1
    optim.beta1, optim.eps, optim.weight_decay, optim.warmup = 0.9, 1e-8, 0.0, 5000
    sampling.snr, sampling.n_steps_each = 0.16, 1
    sampling.noise_removal, sampling.probability_flow = True, False
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
