"""Codecs: maps of images to latents, which a network models in their place, and back; and their registry."""

from __future__ import annotations

import abc
from collections.abc import Callable

from torch import Tensor

from sde_lib.registry import Registry


class Codec(abc.ABC):
    """An autoencoder of images, in evaluation: ``encode`` and ``decode`` depend on their arguments alone.

    Both compute where their argument lies. An implementation is plain data, or reads its weights when it is first used.
    """

    @property
    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Says which codec made some latents: of another one it is another, wherever the files of weights lie."""

    @abc.abstractmethod
    def image_shape(self, latent: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the samples whose latents are of a shape, both without the batch.

        Raises:
            ValueError: no latents of this codec are of that shape.
        """

    @abc.abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Latents (B, ...) of images (B, C, H, W) in [-1, 1]."""

    @abc.abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Images (B, C, H, W), of values about [-1, 1], of latents (B, ...).

        Restorations differentiate it with respect to the latents: it keeps no graph of anything else, and makes one of
        them where they have a gradient.
        """

    @property
    def mean(self) -> tuple[float, ...]:
        """What is published as the latents' mean: one number, or one for each channel; by default 0."""
        return (0.0,)

    @property
    def std(self) -> tuple[float, ...]:
        """What is published as their standard deviation, likewise; by default 1."""
        return (1.0,)


register_codec: Registry[Callable[..., Codec]] = Registry("codec")
"""Functions that return a ``Codec``, or such classes. Every parameter is a setting, a field of ``config.data``."""
