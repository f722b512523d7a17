"""Fashion-MNIST, 28x28, for its likelihood, with the network of ``ddpm/fashion_mnist``."""

from ml_collections import ConfigDict

from configs.ddpm.fashion_mnist import get_config as fashion_mnist
from configs.shared.vdm import as_vdm


def get_config() -> ConfigDict:
    config = as_vdm(fashion_mnist())
    config.data.uniform_dequantization = True
    config.eval.enable_bpd = True
    config.eval.bpd_rtol = config.eval.bpd_atol = 1e-3
    config.eval.bpd_solver = "bosh3"
    config.eval.bpd_num_images = 250
    return config
