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

    training = config.training
    training.task = "superres"
    training.n_iters = 500
    training.snapshot_freq = 500

    config.sampling.respacing = "25"
    config.sampling.batch_size = 90

    evaluation = config.eval
    evaluation.enable_bpd = False
    evaluation.enable_sampling = False
    evaluation.enable_restoration = True
    return config
