"""Data sets as arrays of levels, and the maps between levels and a network's range."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from sde_lib.noise import Noise
from sde_lib.registry import Registry


@dataclass(frozen=True)
class Arrays:
    """A split: ``images`` (N, C, H, W) of integer levels (uint8), or continuous data (N, ...); ``labels`` (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)


Loader: TypeAlias = Callable[[Path, str], Arrays]
"""(root, "train" | "test") -> arrays; a ValueError where the files are missing."""

register_dataset: Registry[Loader] = Registry("data set")


@register_dataset(name="digits")
def digits(root: Path, split: str) -> Arrays:
    """scikit-learn's handwritten digits: 1797 images of 8x8, 17 levels; a fixed stratified split 1437/360."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    rows = train_test_split(np.arange(len(data.target)), test_size=360, stratify=data.target, random_state=0)
    chosen = np.sort(rows[0] if split == "train" else rows[1])
    images = data.images[chosen].astype(np.uint8)[:, None]
    return Arrays(torch.from_numpy(images), torch.from_numpy(data.target[chosen].astype(np.int64)))


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


@dataclass(frozen=True)
class DataSpec:
    """What a sample is, and how levels become the numbers that a network sees.

    Args:
        name: of the data set.
        root: where its files are.
        shape: of a sample, without the batch.
        levels: values of a pixel; 0 for continuous data, which are left as they are.
        centered: the network's range is [-1, 1], else [0, 1].
        dequantize: train on (level + u) / levels with uniform u; else on level / (levels - 1).
        random_flip: mirror training images left to right with probability one half.
    """

    name: str
    root: Path
    shape: tuple[int, ...]
    levels: int
    centered: bool
    dequantize: bool
    random_flip: bool

    @property
    def range(self) -> float:
        """Width of the interval that the network sees."""
        return 2.0 if self.centered else 1.0

    def load(self, split: str) -> Arrays:
        """Read a split and check that it is what the configuration says.

        Raises:
            ValueError: files are missing, or shape or levels differ from the configuration's.
        """
        arrays: Arrays = register_dataset[self.name](self.root, split)
        found = tuple(arrays.images.shape[1:])
        if found != self.shape:
            raise ValueError(
                f"{self.name} has samples of shape {found} but the configuration says {self.shape}; "
                f"set config.data.image_size and config.data.num_channels to match."
            )
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

    def training_batch(self, images: Tensor, noise: Noise) -> Tensor:
        """What a training step sees of the given levels."""
        if not self.levels:
            return images
        if self.random_flip:
            mirrored = noise.uniform((len(images), 1))[:, 0] < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        if self.dequantize:
            return self.dequantized(images, noise)
        return self._center(images.to(noise.dtype) / (self.levels - 1))

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


def as_shape(image_size: int | Sequence[int], channels: int) -> tuple[int, ...]:
    """(C, H, W) of an image configuration."""
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    return (channels, *size)
