"""Data sets as arrays of levels, and the maps between levels and a network's range."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from models.exact.mixtures import ExactScore
from sde_lib.gaussian import Bins
from sde_lib.noise import Noise
from sde_lib.registry import Registry


@dataclass(frozen=True)
class Arrays:
    """A split: ``images`` (N, C, H, W) of integer levels (uint8), or continuous data (N, ...); ``labels`` (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)


Loader: TypeAlias = Callable[[str], Arrays]
""""train" | "test" -> arrays; a ValueError where the files are missing."""

register_dataset: Registry[Callable[..., Arrays]] = Registry("data set")
"""Functions of ``split`` and of whatever else they name: fields of config.data (``root`` is a Path), ``density``."""


@register_dataset(name="digits")
def digits(split: str) -> Arrays:
    """scikit-learn's handwritten digits: 1797 images of 8x8, 17 levels; a fixed stratified split 1437/360."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    rows = train_test_split(np.arange(len(data.target)), test_size=360, stratify=data.target, random_state=0)
    chosen = np.sort(rows[0] if split == "train" else rows[1])
    images = data.images[chosen].astype(np.uint8)[:, None]
    return Arrays(torch.from_numpy(images), torch.from_numpy(data.target[chosen].astype(np.int64)))


@register_dataset(name="digits_16")
def digits_16(split: str) -> Arrays:
    """The same digits enlarged to 16x16 by bicubic interpolation, rounded to their 17 levels."""
    small = digits(split)
    large = torch.nn.functional.interpolate(
        small.images.float(), (16, 16), mode="bicubic", align_corners=False
    )
    return Arrays(large.round().clamp(0, 16).to(torch.uint8), small.labels)


@register_dataset(name="cifar10")
def cifar10(root: Path, split: str) -> Arrays:
    """CIFAR-10: 50,000 and 10,000 colour images of 32x32, read from torchvision's files under ``root``."""
    from torchvision.datasets import CIFAR10

    try:
        data = CIFAR10(str(root), train=split == "train", download=False)
    except RuntimeError as error:
        raise ValueError(
            f"CIFAR-10 is not under {root}/ (missing or damaged: {root / 'cifar-10-batches-py'}). Get it with\n"
            f"  python -c \"import torchvision; torchvision.datasets.CIFAR10('{root}', download=True)\"\n"
            f"or point --config.data.root to where it is."
        ) from error
    images = torch.from_numpy(np.ascontiguousarray(data.data.transpose(0, 3, 1, 2)))
    return Arrays(images, torch.tensor(data.targets, dtype=torch.int64))


@register_dataset(name="exact")
def exact(density: ExactScore, shape: tuple[int, ...], num_draws: int, split: str) -> Arrays:
    """Draws from the density of an exact model: the same whatever config.seed, others for each split."""
    draws, again = (Noise({"train": -1, "test": -2}[split], range(num_draws)) for _ in range(2))
    return Arrays(density.draw((num_draws, *shape), draws), density.classes(num_draws, again))


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


def shuffled_rows(seed: int, start: int, count: int, size: int) -> np.ndarray:
    """Rows ``start`` to ``start + count`` of an endless stream of epochs, each a fresh permutation of ``size``.

    A function of its arguments alone, so a run that resumes sees the data that it would have seen.
    """
    positions = np.arange(start, start + count)
    orders = {e: np.random.default_rng((seed, e)).permutation(size) for e in np.unique(positions // size)}
    return np.array([orders[p // size][p % size] for p in positions])


def draw_labels(count: int, num_classes: int, first: int) -> Tensor:
    """Class labels of samples ``first`` to ``first + count``: every class in turn."""
    return torch.arange(first, first + count) % num_classes


def check_labels(labels: Tensor, num_classes: int, where: str) -> None:
    """Refuse labels that are not one of ``num_classes``.

    Raises:
        ValueError: labels are missing (below 0) or too large.
    """
    if not num_classes:
        return
    if int(labels.min()) < 0:
        raise ValueError(
            f"{where} has no class labels, and the network of model.num_classes={num_classes} needs them; set "
            f"model.num_classes=0, or give labels (a subfolder for each class, arr_1 in an .npz)."
        )
    if int(labels.max()) >= num_classes:
        raise ValueError(
            f"{where} has class labels up to {int(labels.max())}, out of range for model.num_classes={num_classes}; "
            f"set it to at least {int(labels.max()) + 1}."
        )


def as_shape(image_size: int | Sequence[int], channels: int) -> tuple[int, ...]:
    """(C, H, W) of an image configuration."""
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    return (channels, *size)
