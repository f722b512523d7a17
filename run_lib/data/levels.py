"""Data sets as arrays of levels, and the maps between levels and a network's range."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from models.exact.mixtures import ExactScore
from sde_lib.gaussian import Bins
from sde_lib.noise import Noise


@dataclass(frozen=True)
class Arrays:
    """A split: ``images`` (N, C, H, W) of integer levels (uint8), or continuous data (N, ...); ``labels`` (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)


Loader: TypeAlias = Callable[[str], Arrays]
""""train" | "test" -> arrays; a ValueError where the files are missing."""


@dataclass(frozen=True)
class DataSpec:
    """What a sample is, and how levels become the numbers that a network sees.

    Args:
        name: of the data set.
        loader: reads a split of it.
        density: of the data, where it is known.
        shape: of a sample, without the batch.
        levels: values of a pixel; 0 for continuous data, which are left as they are.
        centered: the network's range is [-1, 1], else [0, 1].
        dequantize: train on (level + u) / levels with uniform u; else on level / (levels - 1).
        random_flip: mirror training images left to right with probability one half.
    """

    name: str
    loader: Loader
    density: ExactScore | None
    shape: tuple[int, ...]
    levels: int
    centered: bool
    dequantize: bool
    random_flip: bool

    @property
    def range(self) -> float:
        """Width of the interval that the network sees."""
        return 2.0 if self.centered else 1.0

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest value that the network sees."""
        return (-1.0 if self.centered else 0.0, 1.0)

    def load(self, split: str) -> Arrays:
        """Read a split and check that it is what the configuration says.

        Raises:
            ValueError: files are missing, or shape or levels differ from the configuration's.
        """
        arrays = self.loader(split)
        found = tuple(arrays.images.shape[1:])
        if found != self.shape:
            raise ValueError(
                f"{self.name} has samples of shape {found} but the configuration says {self.shape}; "
                f"set config.data.image_size and config.data.num_channels to match."
            )
        if arrays.images.is_floating_point() != (self.levels == 0):
            kind, wanted = (
                ("continuous", "data.levels=0")
                if self.levels
                else ("of levels", "their number in data.levels")
            )
            raise ValueError(f"{self.name} has values that are {kind}: set {wanted}, not {self.levels}.")
        if self.levels and int(arrays.images.max()) >= self.levels:
            raise ValueError(
                f"{self.name} has values up to {int(arrays.images.max())}, which needs data.levels >= "
                f"{int(arrays.images.max()) + 1}; the configuration says {self.levels}."
            )
        return arrays

    def _center(self, unit: Tensor) -> Tensor:
        return 2 * unit - 1 if self.centered else unit

    def dequantized(self, images: Tensor, noise: Noise) -> Tensor:
        """(level + u) / levels in the network's range, u uniform: a density, as bits/dim need."""
        return self._center((images.to(noise.dtype) + noise.uniform(images.shape)) / self.levels)

    @property
    def bins(self) -> Bins | None:
        """Where the levels lie in the network's range, as ``at_levels`` puts them; None for continuous data."""
        if not self.levels:
            return None
        margin = self.range / self.levels / 2 if self.dequantize else 0.0
        return Bins(self.levels, (-1.0 if self.centered else 0.0) + margin, 1.0 - margin)

    def at_levels(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Levels in the network's range without noise: the centre of what ``dequantized`` draws from, or the
        level itself where it is not used."""
        if not self.levels:
            return images.to(dtype)
        values = images.to(dtype)
        return self._center((values + 0.5) / self.levels if self.dequantize else values / (self.levels - 1))

    def training_batch(self, images: Tensor, noise: Noise) -> Tensor:
        """What a training step sees of the given levels."""
        if self.random_flip:
            mirrored = noise.uniform((len(images), 1))[:, 0] < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        if not self.levels:
            return images.to(noise.dtype)
        return self.dequantized(images, noise) if self.dequantize else self.at_levels(images, noise.dtype)

    @property
    def _black_to_white(self) -> tuple[float, float]:
        bins = self.bins
        return (bins.lowest, bins.highest) if bins else self.limits

    def intensity(self, x: Tensor) -> Tensor:
        """The network's range to intensities: 0 is the lowest level and 1 the highest. Not clipped."""
        low, high = self._black_to_white
        return (x - low) / (high - low)

    def from_intensity(self, unit: Tensor) -> Tensor:
        """Intensities to the network's range: of a level's, where ``at_levels`` puts the level."""
        low, high = self._black_to_white
        return low + unit * (high - low)

    def to_levels(self, x: Tensor) -> Tensor:
        """Samples in the network's range to levels, clipped; uint8 up to 256 levels. Continuous data stay."""
        if not self.levels:
            return x
        unit = (x + 1) / 2 if self.centered else x
        levels = (unit * self.levels).floor() if self.dequantize else (unit * (self.levels - 1)).round()
        return levels.clamp(0, self.levels - 1).to(torch.uint8 if self.levels <= 256 else torch.int32)


def as_shape(image_size: int | Sequence[int], channels: int) -> tuple[int, ...]:
    """(C, H, W) of an image configuration."""
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    return (channels, *size)
