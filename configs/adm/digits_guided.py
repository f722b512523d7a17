"""Class-guided digits: trained with a tenth of the labels withheld, sampled with classifier-free guidance."""

from ml_collections import ConfigDict

from configs.shared.digits import digits


def get_config() -> ConfigDict:
    config = digits(steps=930)
    config.model.num_classes = 10
    config.training.label_dropout = 0.1

    guidance = config.guidance
    guidance.name = "classifier_free"
    guidance.scale = 1.5
    return config
