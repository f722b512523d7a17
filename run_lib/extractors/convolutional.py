"""A small convolutional classifier of images, whose last hidden layer is a space of features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (32, 64, 128)
"""Channels of the stages; further ones have as many as the last."""
LEAST = 4
"""Sides below which a map is not halved any more: 32 pixels have 3 stages, 28 have 2 and 8 have 1."""


class Classifier(nn.Module):
    """Stages of a convolution, batch normalisation and a maximum over 2x2, a hidden layer, and scores of classes.

    Args:
        shape: of an image, (C, H, W).
        features: width of the hidden layer.
        classes: number of classes.

    Attributes:
        mean, std: of the training images by channel, (C, 1, 1), in levels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: tuple[int, ...], features: int, classes: int) -> None:
        super().__init__()
        channels, *sides = shape
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("std", torch.ones(channels, 1, 1))
        parts: list[nn.Module] = []
        stage = 0
        while stage == 0 or min(sides) // 2 >= LEAST:
            width = WIDTHS[min(stage, len(WIDTHS) - 1)]
            parts += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            if min(sides) // 2 >= LEAST:
                parts.append(nn.MaxPool2d(2))
                sides = [side // 2 for side in sides]
            channels, stage = width, stage + 1
        # Smooth, unlike a ReLU: no feature is the same for all images, which would make covariances singular.
        self.trunk = nn.Sequential(
            *parts, nn.Flatten(), nn.Linear(channels * sides[0] * sides[1], features), nn.SiLU()
        )
        self.scores = nn.Linear(features, classes)

    def hidden(self, images: Tensor) -> Tensor:
        """Features (B, F) of levels (B, C, H, W)."""
        found: Tensor = self.trunk((images.float() - self.mean) / self.std)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the classes (B, K) of levels (B, C, H, W)."""
        found: Tensor = self.scores(self.hidden(images))
        return found
