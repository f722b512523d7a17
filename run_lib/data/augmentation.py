"""What an augmentation is: a change of training samples at random, and what the network is told of it."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sde_lib.noise import Noise
from sde_lib.registry import Registry


@dataclass(frozen=True)
class Augmented:
    """Changed samples.

    Attributes:
        images: of the same shape and type.
        labels: what was done to each, (B, L), all zero where nothing was; None: nothing is told.
    """

    images: Tensor
    labels: Tensor | None = None


class Augmentation(abc.ABC):
    """Changes training samples at random. What it draws is each sample's own, a function of the seed and the sample's
    place in training: it does not depend on how a batch is split.

    Attributes:
        num_labels: how many numbers the network is told of each sample. It learns the augmented data given these, so
            that without augmentation, told zeros, its samples are not augmented.
        of_values: whether it changes values in the network's range, (B, C, ...); otherwise the data as they are, levels
            or continuous.
        of_images: whether it has a meaning for images alone, of two axes; otherwise for signals and volumes, too.
    """

    num_labels: ClassVar[int] = 0
    of_values: ClassVar[bool] = False
    of_images: ClassVar[bool] = False

    @abc.abstractmethod
    def __call__(self, images: Tensor, noise: Noise) -> Augmented:
        """Changed samples.

        Args:
            images: (B, C, ...).
            noise: each sample's random stream.
        """


register_augmentation: Registry[type[Augmentation]] = Registry("augmentation")
"""Augmentations by name; their settings are fields of ``config.data``."""
