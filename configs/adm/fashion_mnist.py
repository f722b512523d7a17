"""Class-guided Fashion-MNIST: trained with a tenth of the labels withheld, classifier-free guidance."""

from ml_collections import ConfigDict

from configs.ddpm.fashion_mnist import get_config as fashion_mnist


def get_config() -> ConfigDict:
    config = fashion_mnist()
    config.model.num_classes = 10
    config.training.label_dropout = 0.1

    config.guidance.name = "classifier_free"
    config.guidance.scale = 1.5
    config.sampling.predictor = "unipc"
    config.sampling.num_steps = 10  # of two evaluations each, with the label and without
    return config
