"""LSUN bedrooms, 256 pixels: improved-diffusion's lsun_uncond_100M_1200K_bs128.pt."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    config = adm.improved(256, attention=(16,))
    config.data.dataset = "LSUN"
    config.data.category = "bedroom"
    config.model.num_heads = 1
    config.model.num_res_blocks = 2
    config.model.num_scales = 1000
    config.model.beta_schedule = "linear"
    config.model.use_scale_shift_norm = False
    config.model.rescale_timesteps = False
    return config
