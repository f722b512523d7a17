"""Fashion-MNIST, 28x28, by flow matching, with the network of ``ddpm/fashion_mnist``."""

from ml_collections import ConfigDict

from configs.ddpm.fashion_mnist import get_config as fashion_mnist
from configs.shared.flow import as_flow


def get_config() -> ConfigDict:
    return as_flow(fashion_mnist())
