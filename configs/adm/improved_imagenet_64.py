"""ImageNet, 64 pixels, class-conditional: improved-diffusion's imagenet64_cond_270M_250K.pt."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    config = adm.improved(64, channels=192)
    adm.class_conditional(config)
    config.model.rescale_timesteps = False
    config.training.batch_size = 2048
    config.optim.lr = 3e-4
    return config
