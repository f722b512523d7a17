"""Shipped configurations at sizes that take moments, for tests of the whole program to build on."""

from __future__ import annotations

import importlib

from ml_collections import ConfigDict


def shrunk(name: str) -> ConfigDict:
    """The configuration ``name``, such as ddpm/digits, with a small network and few samples, and its own training."""
    config: ConfigDict = importlib.import_module(f"configs.{name.replace('/', '.')}").get_config()
    config.device = "cpu"
    if not name.startswith("toy/"):
        _shrink_network(config, name)
    sampling, evaluation, tune = config.sampling, config.eval, config.tune
    sampling.batch_size = 64
    if "respacing" in sampling:
        sampling.respacing = "3"
    else:
        sampling.num_steps = 3
    evaluation.num_samples, evaluation.batch_size = 70, 180
    if "bpd_respacing" in evaluation:
        evaluation.bpd_respacing = "2"
    evaluation.bpd_rtol = evaluation.bpd_atol = 0.1
    tune.num_samples, tune.repeats, tune.pilot_samples = 70, 2, 4
    config.control.num_images = config.reconstruct.num_images = 2
    return config


def _shrink_network(config: ConfigDict, name: str) -> None:
    model = config.model
    with config.ignore_type():  # auto, in some
        model.nf, model.ch_mult, model.num_res_blocks, model.num_groups = 8, (1,), 1, 4
    model.num_heads = 1
    if name == "adm/digits_classifier":
        model.num_head_channels = 4
        config.eval.accuracy_levels = 2
