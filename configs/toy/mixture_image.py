"""8x8 images of a cross, a square and a slash, blurred by noise, with their exact score: no training."""

from ml_collections import ConfigDict

from configs.shared import toy

CROSS = lambda i, j: i in (3, 4) or j in (3, 4)  # noqa: E731
SQUARE = lambda i, j: max(abs(i - 3.5), abs(j - 3.5)) == 2.5  # noqa: E731
SLASH = lambda i, j: abs(i + j - 7) <= 1  # noqa: E731


def get_config() -> ConfigDict:
    config = toy.images(size=8)
    model = config.model
    model.name = "gaussian_mixture"
    model.means = tuple(
        tuple(0.8 if glyph(i, j) else -0.8 for i in range(8) for j in range(8))
        for glyph in (CROSS, SQUARE, SLASH)
    )
    model.stds = 0.1
    return config
