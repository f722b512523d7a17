"""Images as integer levels, and the maps between levels and the range that a network sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from torch import Tensor

from models.exact.mixtures import ExactScore
from run_lib.data.augmentation import Augmentation, Augmented
from run_lib.data.batches import Batches, Parts, Reading
from run_lib.data.classes import UNKNOWN, Numbering
from run_lib.data.latents import Latents, Scaled
from run_lib.data.listing import announce
from run_lib.data.rows import Checked, Indices, OfOthers, Rows
from run_lib.data.split import Arrays, MissingSplitError, Split
from run_lib.data.user_sets import as_split
from sde_lib.gaussian import Bins
from sde_lib.noise import Noise

__all__ = ["Arrays", "DataSpec", "Loader", "as_shape"]

Loader: TypeAlias = Callable[[str], Split | Arrays]
"""Finds the split "train" or "test"; a ValueError says which files are missing."""


@dataclass(frozen=True)
class CheckLevels:
    """Refuses values that are no levels of a data set.

    Attributes:
        name: of the data set, for messages.
        levels: number of values of a pixel.
    """

    name: str
    levels: int

    def __call__(self, images: Tensor) -> None:
        """Look at some of its samples.

        Raises:
            ValueError: one is too large, or negative.
        """
        if not images.numel():
            return
        least, most = (int(one) for one in images.aminmax())
        if least < 0:
            raise ValueError(f"{self.name} has values down to {least}, and levels are counted from 0.")
        if most >= self.levels:
            raise ValueError(
                f"{self.name} has values up to {most}, which needs data.levels >= {most + 1}; the configuration says "
                f"{self.levels}."
            )


@dataclass(frozen=True)
class Decoding(OfOthers):
    """Rows of scaled latents, read as the levels of the images that they are decoded to.

    Attributes:
        rows: of latents.
        data: whose they are.
        device: on which they are decoded.
    """

    rows: Rows
    data: DataSpec
    device: torch.device

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shown.shape

    @property
    def dtype(self) -> torch.dtype:
        return torch.uint8 if self.data.shown.levels <= 256 else torch.int32

    @property
    def costly(self) -> bool:
        return False  # it may be done where other processes cannot

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: Indices) -> Tensor:
        with torch.no_grad():
            return self.data.to_levels(self.rows.read(indices).to(self.device)).cpu()


@dataclass(frozen=True)
class DataSpec:
    """A data set, the shape of its samples, and how levels become the numbers that a network sees.

    Args:
        name: the data set's registered name.
        loader: reads a split of it.
        density: the data's density, where it is known.
        shape: the shape of a sample, without the batch.
        levels: number of values of a pixel, 256 for 8 bits; 0 for continuous data, which are left as they are.
        centered: whether the network sees the range [-1, 1]; otherwise it sees [0, 1].
        dequantize: whether the network is trained on (level + u) / levels with u uniform on [0, 1); otherwise on
            level / (levels - 1).
        random_flip: whether training images are mirrored left to right with probability one half.
        labelled: whether labels mean anything: the network is told classes, or tells them apart.
        numbering: of the classes, as the network has it: known of data with which its weights are loaded
            (``numbered``).
        reading: how training data are read.
        augment: what is done to training samples at random; None: nothing.
        latents: of which codec the samples are; None: they are no latents.
        images: that they are the latents of; None with that.
    """

    name: str
    loader: Loader
    density: ExactScore | None
    shape: tuple[int, ...]
    levels: int
    centered: bool
    dequantize: bool
    random_flip: bool
    labelled: bool = False
    numbering: Numbering = UNKNOWN
    reading: Reading = field(default_factory=Reading)
    augment: Augmentation | None = None
    latents: Latents | None = None
    images: DataSpec | None = None

    @property
    def range(self) -> float:
        """Width of the interval that the network sees."""
        return 2.0 if self.centered else 1.0

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest value that the network sees."""
        return (-1.0 if self.centered else 0.0, 1.0)

    @property
    def shown(self) -> DataSpec:
        """The data of pictures and of files of samples: where these are latents, the images."""
        return self if self.images is None else self.images

    def load(self, split: str) -> Split:
        """Find a split, and check its shape and its classes. Its levels are checked as they are read.

        Raises:
            MissingSplitError: the data set has no such split.
            ValueError: files are missing; the shape or the levels are not those of the configuration; a class that the
                network, or the training split, does not know; images that are to be latents, or latents of another
                codec.
        """
        found = self.stored(split)
        return found if self.latents is None else replace(found, rows=Scaled(found.rows, self.latents))

    def stored(self, split: str) -> Split:
        """The same as its files have it: latents are not scaled.

        Raises:
            MissingSplitError, ValueError: as of ``load``.
        """
        found = as_split(self.loader(split), labelled=self.labelled)
        if self.latents is not None:
            self.latents.check(found, f"the {split} split of {self.name}")
        elif found.coding is not None:
            raise ValueError(
                f"{self.name} holds latents of the codec {found.coding.codec!r}: set config.data.codec to it, by which "
                f"samples become images; they are packed already."
            )
        if found.rows.shape != self.shape:
            raise ValueError(
                f"{self.name} has samples of shape {found.rows.shape} but the configuration says {self.shape}; "
                f"set config.data.image_size and config.data.num_channels to match."
            )
        if found.rows.dtype.is_floating_point != (self.levels == 0):
            kind, wanted = (
                ("continuous", "data.levels=0")
                if self.levels
                else ("of levels", "their number in data.levels")
            )
            raise ValueError(f"{self.name} has values that are {kind}: set {wanted}, not {self.levels}.")
        if self.levels:
            check = CheckLevels(self.name, self.levels)
            if found.rows.whole is None:
                found = replace(found, rows=Checked(found.rows, check))
            else:
                check(found.rows.whole)
        return self.numbering.number(found, f"the {split} split of {self.name}", labelled=self.labelled)

    def as_shown(self, split: Split, device: torch.device) -> Split:
        """A split as samples are shown: of latents the images that they are decoded to, as they are read.

        Args:
            split: of this data set.
            device: on which they are decoded.
        """
        return split if self.images is None else replace(split, rows=Decoding(split.rows, self, device))

    def has(self, split: str) -> bool:
        """Whether the data set has a split; of whatever else is wrong, loading it says."""
        try:
            self.load(split)
        except MissingSplitError:
            return False
        return True

    def load_if_any(self, split: str, without: str) -> Split | None:
        """A split; None where the data set has none, which is said.

        Args:
            split: "train" or "test".
            without: what is left out then, such as "the validation loss".

        Raises:
            ValueError: as of ``load``, for whatever else is wrong.
        """
        try:
            return self.load(split)
        except MissingSplitError as error:
            announce(f"{without} is left out: {error}")
            return None

    def batches(
        self, split: Split, seed: int, batch_size: int, parts: Parts, device: torch.device
    ) -> Batches:
        """The data of training steps, read as ``reading`` says.

        Args:
            split: of this data set.
            seed: decides the order.
            batch_size: samples of a step.
            parts: rows of a step that are asked for at a time, in their order; none: all at once.
            device: to which they go.
        """
        return Batches(split, seed, batch_size, parts=parts, device=device, reading=self.reading)

    def _center(self, unit: Tensor) -> Tensor:
        return 2 * unit - 1 if self.centered else unit

    def dequantized(self, images: Tensor, noise: Noise) -> Tensor:
        """Dequantised levels, (level + u) / levels with u uniform on [0, 1), in the network's range.

        They have a density, which bits per dimension need (Theis et al. 2016, section 3.1).
        """
        return self._center((images.to(noise.dtype) + noise.uniform(images.shape)) / self.levels)

    @property
    def bins(self) -> Bins | None:
        """The values in the network's range to which ``at_levels`` maps the levels; None for continuous data."""
        if not self.levels:
            return None
        margin = self.range / self.levels / 2 if self.dequantize else 0.0
        return Bins(self.levels, (-1.0 if self.centered else 0.0) + margin, 1.0 - margin)

    def at_levels(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Levels in the network's range, without noise.

        With ``dequantize`` a level becomes the centre of the interval from which ``dequantized`` draws.
        """
        if not self.levels:
            return images.to(dtype)
        values = images.to(dtype)
        return self._center((values + 0.5) / self.levels if self.dequantize else values / (self.levels - 1))

    def training_batch(self, images: Tensor, noise: Noise) -> Augmented:
        """The input of a training step: the given levels augmented, dequantised, in the network's range."""
        if self.augment is not None and not self.augment.of_values:
            images = self.augment(images, noise).images
        if self.random_flip:
            mirrored = noise.uniform((len(images), 1))[:, 0] < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        x0 = self.held_out_batch(images, noise)
        return (
            self.augment(x0, noise) if self.augment is not None and self.augment.of_values else Augmented(x0)
        )

    def held_out_batch(self, images: Tensor, noise: Noise) -> Tensor:
        """The input of a training step's loss on images that are evaluated: as they are, never mirrored."""
        if not self.levels:
            return images.to(noise.dtype)
        return self.dequantized(images, noise) if self.dequantize else self.at_levels(images, noise.dtype)

    @property
    def _black_to_white(self) -> tuple[float, float]:
        bins = self.bins
        return (bins.lowest, bins.highest) if bins else self.limits

    def intensity(self, x: Tensor) -> Tensor:
        """Intensities of values in the network's range: 0 is the lowest level and 1 the highest. Not clipped."""
        low, high = self._black_to_white
        return (x - low) / (high - low)

    def from_intensity(self, unit: Tensor) -> Tensor:
        """Values in the network's range of the given intensities; the inverse of ``intensity``."""
        low, high = self._black_to_white
        return low + unit * (high - low)

    def seen(self, images: Tensor) -> Tensor:
        """What the network sees of images in the range of ``shown``: themselves, or their latents."""
        return images if self.latents is None else self.latents.seen(images)

    def decoded(self, x: Tensor) -> Tensor:
        """Images in the range of ``shown`` of what the network sees."""
        return x if self.latents is None else self.latents.decoded(x)

    def to_levels(self, x: Tensor) -> Tensor:
        """The levels nearest to samples in the network's range, clipped; uint8 up to 256 levels.

        Continuous data are returned as they are; latents are decoded to images, of which these are the levels.
        """
        if self.latents is not None:
            return self.shown.to_levels(self.latents.decoded(x))
        if not self.levels:
            return x
        unit = (x + 1) / 2 if self.centered else x
        levels = (unit * self.levels).floor() if self.dequantize else (unit * (self.levels - 1)).round()
        return levels.clamp(0, self.levels - 1).to(torch.uint8 if self.levels <= 256 else torch.int32)


def as_shape(image_size: int | Sequence[int], channels: int) -> tuple[int, ...]:
    """The shape (C, H, W) of images whose size is one number, for squares, or (H, W)."""
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    return (channels, *size)
