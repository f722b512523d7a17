"""8x8 images, Gaussian around a bright disc, with their exact score: no training."""

from ml_collections import ConfigDict

from configs.shared import toy


def get_config() -> ConfigDict:
    config = toy.images(size=8)
    model = config.model
    model.name = "gaussian"
    with model.ignore_type():
        model.mean = (
            tuple(
                tuple(0.8 if (i - 3.5) ** 2 + (j - 3.5) ** 2 < 9 else -0.8 for j in range(8))
                for i in range(8)
            ),
        )
    model.std = 0.2
    return config
