"""What an extractor of features is."""

from __future__ import annotations

import abc
from collections.abc import Collection, Mapping
from typing import ClassVar

import numpy as np
from torch import Tensor

from run_lib.metrics.base import Output
from sde_lib.registry import Registry


class Extractor(abc.ABC):
    """A map from images to features.

    A subclass's constructor may name what ``CONTEXT`` lists, which the program gives; every other parameter is a
    setting, with a type, a default and a description under Args.

    Attributes:
        title: what numbers in its space are named after, such as ``Inception`` or ``DINOv2``.
    """

    title: ClassVar[str]

    @property
    def published(self) -> bool:
        """Whether it is the very one that papers' names such as FID stand for: the published network, as it is used
        there. Numbers of any other are not called by these names."""
        return True

    @property
    @abc.abstractmethod
    def dimensions(self) -> Mapping[Output, int]:
        """The outputs that it has, and the number of features of each."""

    @property
    @abc.abstractmethod
    def protocol(self) -> Mapping[str, str]:
        """All that its features depend on, in words, by name: ``weights`` (name, hash), ``resize`` (size, filter),
        ``range``. Numbers of other protocols are never taken for each other."""

    @abc.abstractmethod
    def __call__(self, images: Tensor, outputs: Collection[Output]) -> dict[Output, np.ndarray]:
        """Features of some images, float32 (B, D), for each of the outputs asked for.

        An image's features do not depend on its batch-mates.

        Args:
            images: integer levels (B, C, H, W), or continuous data (B, ...), on any device.
            outputs: of ``dimensions``.
        """


CONTEXT = ("shape", "levels", "reference", "device", "weights")
"""What the program gives an extractor that names it: the shape of an image and the number of its levels (0: continuous
data); the reference set (``Rows | None``), for what is fitted to data; the device (``torch.device``); and the file of
weights that a user names (``Path | None``)."""

register_extractor: Registry[type[Extractor]] = Registry("extractor")
"""Extractors by name: ``frechet@pixels`` asks for ``pixels``."""
