"""Shipped configurations with networks, trainings and samplers that take a second, by their names."""

from __future__ import annotations

from ml_collections import ConfigDict

from tests.shrunk import shrunk

PUBLISHED = ("ncsnpp/cifar10_ve_continuous", "ddpm/cifar10_diffusers", "ddpm/cifar10")
"""Whose networks are those of ``tests/fixtures``."""


def small(name: str) -> ConfigDict:
    """The configuration ``name``, such as ddpm/digits, at toy size."""
    config = shrunk(name)
    _fit_network(config, name)
    training, sampling = config.training, config.sampling
    with config.ignore_type():  # auto, in some
        training.n_iters, training.batch_size = 5, 8
        training.snapshot_freq = training.snapshot_freq_for_preemption = 5 if name in PUBLISHED else 1
        config.optim.warmup = 1
    training.log_freq = training.eval_freq = 2
    training.preview_images, training.snapshot_sampling = 4, name in PUBLISHED
    sampling.num_samples, sampling.grid_size = 6, 4
    if "respacing" not in sampling:
        sampling.num_steps = 12  # RePaint jumps by ten
    config.eval.bpd_num_images = 4
    config.extractor.n_iters = 2
    return config


def _fit_network(config: ConfigDict, name: str) -> None:
    """Make it that of the files that a reader has, and of heads that divide its few channels."""
    model = config.model
    if name in PUBLISHED:
        model.nf, model.ch_mult, model.attn_resolutions = 32, (1, 2), (16,)
    if name == "adm/imagenet_64":
        config.data.image_size = 16  # at each of which the middle block attends
    if name.startswith(("auto/", "adm/imagenet")):
        model.num_head_channels = 8
        with config.ignore_type():
            model.attn_resolutions = ()
