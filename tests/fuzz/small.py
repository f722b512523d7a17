"""Shipped configurations with a network, a training and a sampler small enough for thousands of cases.

``--config tests/fuzz/small.py:adm/digits_learned``
"""

from __future__ import annotations

import importlib

from ml_collections import ConfigDict

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
    config: ConfigDict = importlib.import_module(f"configs.{name.replace('/', '.')}").get_config()
    config.device = "cpu"
    if "cifar10" in name:  # whose files there are not
        config.data = importlib.import_module("configs.ddpm.digits").get_config().data
        config.model.attn_resolutions = (8,)
    if not name.startswith("toy/"):
        _shrink_network(config, name)
    sampling, evaluation, tune = config.sampling, config.eval, config.tune
    sampling.num_samples, sampling.batch_size, sampling.grid_size = 3, 64, 2
    if "respacing" in sampling:
        sampling.respacing = "3"
    else:
        sampling.num_steps = 3
    evaluation.batch_size = 180
    if "bpd_respacing" in evaluation:
        evaluation.bpd_respacing = "2"
    evaluation.enable_loss = not name.startswith("toy/")
    evaluation.enable_sampling = evaluation.enable_restoration = False
    evaluation.num_samples = 70
    evaluation.bpd_num_images = 2
    evaluation.bpd_rtol = evaluation.bpd_atol = 0.1
    tune.num_samples, tune.repeats, tune.pilot_samples = 70, 2, 4
    tune.sweep = "num_steps=2,3"
    config.control.num_images = config.reconstruct.num_images = 2
    config.reconstruct.input = "test"
    return config


def _shrink_network(config: ConfigDict, name: str) -> None:
    model, training = config.model, config.training
    model.nf, model.ch_mult, model.num_res_blocks, model.num_groups = 8, (1,), 1, 4
    if "cifar10" in name:
        model.nf = 32  # diffusers normalises no fewer
    model.num_heads = 1
    if name == "adm/digits_classifier":
        model.num_head_channels = 4
        config.eval.accuracy_levels = 2
    training.n_iters, training.batch_size = 2, 4
    training.log_freq = training.eval_freq = 1
    training.snapshot_freq = training.snapshot_freq_for_preemption = 2
    training.snapshot_sampling = False
    config.optim.warmup = 1
