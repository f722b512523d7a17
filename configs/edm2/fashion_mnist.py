"""Fashion-MNIST, 28x28, as EDM2 trains it: a small magnitude-preserving network."""

from ml_collections import ConfigDict

from configs.edm.fashion_mnist import get_config as fashion_mnist
from configs.shared.edm import as_edm2


def get_config() -> ConfigDict:
    config = as_edm2(fashion_mnist(), constant_until=600)
    config.model.ch_mult = (1, 2, 2)  # 28, 14, 7; the blocks at 7x7 attend
    config.model.attn_resolutions = (7,)
    config.training.snapshot_freq = 600
    return config
