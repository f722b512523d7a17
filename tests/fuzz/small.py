"""Shipped configurations with a network, a training and a sampler small enough for thousands of cases.

``--config tests/fuzz/small.py:adm/digits_learned``
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs.ddpm.digits import get_config as get_digits
from tests.shrunk import shrunk

NAMES = (
    "ddpm/digits",
    "adm/digits",
    "adm/digits_learned",
    "adm/digits_guided",
    "adm/digits_superres",
    "adm/digits_classifier",
    "edm/digits",
    "ddpm/cifar10_diffusers",
    "ncsnpp/cifar10_ve_continuous",
    "toy/gaussian_2d",
    "toy/mixture_2d",
    "toy/gaussian_image",
)


def get_config(name: str = "ddpm/digits") -> ConfigDict:
    config = shrunk(name)
    if "cifar10" in name:  # whose files there are not
        config.data = get_digits().data
        config.model.attn_resolutions = (8,)
        config.model.nf = 32  # diffusers normalises no fewer
    if not name.startswith("toy/"):
        _shorten_training(config)
    sampling, evaluation = config.sampling, config.eval
    sampling.num_samples, sampling.grid_size = 3, 2
    evaluation.enable_loss = not name.startswith("toy/")
    evaluation.enable_sampling = evaluation.enable_restoration = False
    evaluation.bpd_num_images = 2
    config.tune.sweep = "num_steps=2,3"
    config.reconstruct.input = "test"
    return config


def _shorten_training(config: ConfigDict) -> None:
    training = config.training
    training.n_iters, training.batch_size = 2, 4
    training.log_freq = training.eval_freq = 1
    training.snapshot_freq = training.snapshot_freq_for_preemption = 2
    training.snapshot_sampling = False
    config.optim.warmup = 1
