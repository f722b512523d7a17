"""NCSNv2 on LSUN bedrooms, 128 pixels (Song & Ermon 2020)."""

from ml_collections import ConfigDict

from configs.shared import images, networks, processes


def get_config() -> ConfigDict:
    config = images.lsun("bedroom")
    processes.ve(config, continuous=False)
    networks.ncsnv2(config, pixels=128, num_scales=1086, snr=0.095, n_steps_each=3)
    config.data.image_size = 128
    config.model.sigma_max = 190.0
    config.model.ema_rate = 0.9999
    config.training.batch_size = 128
    return config
