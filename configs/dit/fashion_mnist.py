"""Fashion-MNIST, 28x28, by a small DiT: patches of 4 pixels, six blocks."""

from ml_collections import ConfigDict

from configs.ddpm.fashion_mnist import get_config as fashion_mnist


def get_config() -> ConfigDict:
    config = fashion_mnist()
    model = config.model
    model.name = "dit"
    model.nf = 128
    model.depth = 6
    model.num_heads = 4
    model.patch_size = 4
    config.optim.lr = 1e-3
    return config
