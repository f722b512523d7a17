"""Shipped configurations with networks, trainings and samplers that take a second, by their names."""

from __future__ import annotations

import importlib

from ml_collections import ConfigDict

PUBLISHED = (
    "ncsnpp/cifar10_ve_continuous",
    "ddpm/cifar10_diffusers",
    "ddpm/cifar10",
)
"""Whose networks are those of ``tests/fixtures``."""


def small(name: str) -> ConfigDict:
    """The configuration ``name``, such as ddpm/digits, at toy size."""
    config: ConfigDict = importlib.import_module(f"configs.{name.replace('/', '.')}").get_config()
    config.device = "cpu"
    if not name.startswith("toy/"):
        _shrink_network(config, name)
    training, sampling, evaluation, tune = config.training, config.sampling, config.eval, config.tune
    with config.ignore_type():  # auto, in some
        training.n_iters, training.batch_size = 5, 8
        training.snapshot_freq = training.snapshot_freq_for_preemption = 5 if name in PUBLISHED else 1
        config.optim.warmup = 1
    training.log_freq = training.eval_freq = 2
    training.preview_images, training.snapshot_sampling = 4, name in PUBLISHED
    sampling.num_samples, sampling.batch_size, sampling.grid_size = 6, 64, 4
    if "respacing" in sampling:
        sampling.respacing = "3"
    else:
        sampling.num_steps = 12  # RePaint jumps by ten
    evaluation.num_samples, evaluation.batch_size = 70, 180
    if "bpd_respacing" in evaluation:
        evaluation.bpd_respacing = "2"
    evaluation.bpd_num_images, evaluation.bpd_rtol, evaluation.bpd_atol = 4, 0.1, 0.1
    tune.num_samples, tune.repeats, tune.pilot_samples = 70, 2, 4
    config.control.num_images = config.reconstruct.num_images = 2
    config.extractor.n_iters = 2
    return config


def _shrink_network(config: ConfigDict, name: str) -> None:
    model = config.model
    with config.ignore_type():
        model.num_res_blocks = 1
        if name in PUBLISHED:
            model.nf, model.ch_mult, model.attn_resolutions = 32, (1, 2), (16,)
        else:
            model.nf, model.ch_mult, model.num_groups, model.num_heads = 8, (1,), 4, 1
    if name == "adm/imagenet_64":
        config.data.image_size = 16  # at each of which the middle block attends
    if name.startswith(("auto/", "adm/imagenet")):
        model.num_head_channels = 8
        with config.ignore_type():
            model.attn_resolutions = ()
    if name == "adm/digits_classifier":
        model.num_head_channels = 4
        config.eval.accuracy_levels = 2
