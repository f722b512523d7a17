"""Data sets by name: digits, CIFAR-10, draws from a density, and folders of images.

A folder of images is ``<root>/<name>/<train|test>/`` with PNG or JPEG files; where they lie in subfolders, each
subfolder is a class. Instead of a folder there may be one array, ``<train|test>.npy``, uint8 (N, C, H, W), which
is read as it is needed: for data that do not fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from models.exact.mixtures import ExactScore
from run_lib.data.images import read_images
from run_lib.data.levels import Arrays
from sde_lib.noise import Noise
from sde_lib.registry import Registry

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


@register_dataset(name="celeba")
def celeba(root: Path, split: str, shape: tuple[int, ...]) -> Arrays:
    """Aligned faces, of which score_sde keeps the central 140 pixels."""
    return read_images(root / "celeba", split, shape, crop=140)


@register_dataset(name="CelebAHQ")
def celebahq(root: Path, split: str, shape: tuple[int, ...], tfrecords_path: str) -> Arrays:
    return read_images(root / "celebahq", split, shape, hint=_no_records(tfrecords_path))


@register_dataset(name="FFHQ")
def ffhq(root: Path, split: str, shape: tuple[int, ...], tfrecords_path: str) -> Arrays:
    return read_images(root / "ffhq", split, shape, hint=_no_records(tfrecords_path))


@register_dataset(name="imagenet")
def imagenet(root: Path, split: str, shape: tuple[int, ...]) -> Arrays:
    """A subfolder for each class."""
    return read_images(root / "imagenet", split, shape)


def _no_records(path: str) -> str:
    return f" TFRecords ({path}) are not read: unpack them." if path else ""


@register_dataset(name="lsun")
def lsun(root: Path, split: str, shape: tuple[int, ...], category: str) -> Arrays:
    """One category: ``<root>/lsun/<category>/<train|test>``."""
    if not category:
        raise ValueError("LSUN is a data set for each category: set config.data.category, such as bedroom.")
    return read_images(root / "lsun" / category, split, shape)
