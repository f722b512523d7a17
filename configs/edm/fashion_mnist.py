"""Fashion-MNIST, 28x28, as EDM trains it, with the network of ``ddpm/fashion_mnist``."""

from ml_collections import ConfigDict

from configs.ddpm.fashion_mnist import get_config as fashion_mnist
from configs.shared.edm import as_edm


def get_config() -> ConfigDict:
    return as_edm(fashion_mnist())
