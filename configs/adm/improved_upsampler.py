"""ImageNet, from 64 to 256 pixels, class-conditional: improved-diffusion's upsample_cond_500K.pt."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    config = adm.improved(256, channels=192)
    adm.upsampler(config)
    config.model.num_res_blocks = 2
    config.model.beta_schedule = "linear"
    config.model.rescale_timesteps = False
    config.training.batch_size = 256
    config.optim.lr = 3e-4
    return config
