"""Digits from 8x8 to 16x16: the network also sees the small image."""

from ml_collections import ConfigDict

from configs.adm.digits import get_config as diffusion


def get_config() -> ConfigDict:
    config = diffusion()
    config.data.dataset = "digits_16"
    config.data.image_size = 16
    config.data.low_res_size = 8
    config.model.name = "adm_superres"
    config.model.num_classes = 0
    config.training.task = "superres"
    config.training.n_iters = 700
    config.training.snapshot_freq = 700
    config.sampling.respacing = "50"
    config.eval.enable_sampling = False
    return config
