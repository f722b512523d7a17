"""Defaults of score_sde's files for CIFAR-10, under the name by which they import them."""

from ml_collections import ConfigDict

from configs.shared import images


def get_default_configs() -> ConfigDict:
    """The process is left to the file; unset, ``training.sde`` is vpsde and ``continuous`` True."""
    config = images.cifar10()
    config.training.sde = None
    config.training.continuous = None
    config.eval.num_samples = 50_000
    config.eval.begin_ckpt = 9
    config.eval.end_ckpt = 26
    config.eval.enable_loss = True
    return config
