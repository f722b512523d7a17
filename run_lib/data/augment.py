"""What is done to training samples at random, and never to samples that are evaluated: mirrors and crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from run_lib.data.augmentation import Augmentation, Augmented, register_augmentation
from run_lib.data.non_leaky import NonLeaky
from sde_lib.noise import Noise
from sde_lib.settings import Range

__all__ = ["Augmentation", "Augmented", "Crops", "Flips", "NonLeaky", "register_augmentation"]


@register_augmentation(name="flip")
@dataclass(frozen=True)
class Flips(Augmentation):
    """Mirrors images with probability one half along each axis.

    Args:
        flip_axes: left to right, top to bottom, or each of both.
    """

    flip_axes: Literal["horizontal", "vertical", "both"] = "horizontal"

    def __call__(self, images: Tensor, noise: Noise) -> Augmented:
        axes = {"horizontal": (-1,), "vertical": (-2,), "both": (-1, -2)}[self.flip_axes]
        coins = noise.uniform((len(images), len(axes))) < 0.5
        for axis, mirrored in zip(axes, coins.T, strict=True):
            where = mirrored.reshape(-1, *[1] * (images.ndim - 1))
            images = torch.where(where, images.flip(axis), images)
        return Augmented(images)


@register_augmentation(name="crop")
@dataclass(frozen=True)
class Crops(Augmentation):
    """Moves samples by a whole number of pixels along each axis, uniformly; the border is reflected.

    It is a crop at random of the sample with so many reflected pixels around it.

    Args:
        crop_padding: the largest move, in pixels.
    """

    crop_padding: Annotated[int, Range(least=1)] = 4

    def __call__(self, images: Tensor, noise: Noise) -> Augmented:
        axes = range(2, images.ndim)
        moves = (noise.uniform((len(images), len(axes))) * (2 * self.crop_padding + 1)).floor().long()
        for axis, move in zip(axes, moves.T - self.crop_padding, strict=True):
            size = images.shape[axis]
            if self.crop_padding >= size:
                raise ValueError(
                    f"data.crop_padding={self.crop_padding} must be less than the samples' size, {size}."
                )
            place = (torch.arange(size, device=images.device) + move[:, None]).abs()
            place = size - 1 - (size - 1 - place).abs()
            shape = [len(images), *(size if k == axis else 1 for k in range(1, images.ndim))]
            images = torch.take_along_dim(images, place.reshape(shape), dim=axis)
        return Augmented(images)
