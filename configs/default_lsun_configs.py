"""Defaults of score_sde's files for LSUN and CelebA-HQ, under the name by which they import them."""

from ml_collections import ConfigDict

from configs.shared import images


def get_default_configs() -> ConfigDict:
    """The process is left to the file; unset, ``training.sde`` is vpsde and ``continuous`` True."""
    config = images.lsun("")
    config.training.sde = None
    config.training.continuous = None
    config.eval.num_samples = 50_000
    config.eval.begin_ckpt = 50
    config.eval.end_ckpt = 96
    config.eval.enable_loss = True
    config.eval.enable_sampling = True
    return config
