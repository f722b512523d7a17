"""A classifier of noised digits: the encoder half of the U-Net, at uniform levels of the chain."""

from ml_collections import ConfigDict

from configs.adm.digits import get_config as diffusion


def get_config() -> ConfigDict:
    config = diffusion()
    model, training, evaluation = config.model, config.training, config.eval
    model.name = "adm_encoder"
    model.pool = "adaptive"
    model.num_head_channels = 16
    training.task = "classifier"
    training.objective = None
    training.n_iters = 700
    training.snapshot_freq = 700
    config.data.uniform_dequantization = True
    evaluation.enable_accuracy = True
    evaluation.enable_bpd = False
    evaluation.enable_sampling = False
    return config
