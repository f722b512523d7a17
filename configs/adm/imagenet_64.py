"""ImageNet, 64 pixels, class-conditional: guided-diffusion's 64x64_diffusion.pt."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    config = adm.guided(64, channels=192)
    adm.class_conditional(config)
    config.model.num_res_blocks = 3
    config.model.dropout = 0.1
    config.model.beta_schedule = "cosine"
    config.model.use_new_attention_order = True
    return config
