"""The registry of data sets: digits, CIFAR-10, draws from a density, and folders of images.

A data set of image files is a folder ``<root>/<name>/<train|test>/`` of PNG or JPEG files. Where they lie in
subfolders, each subfolder is a class, and the training split's are numbered in the order of their names.
Instead of ``<split>/`` there may be one array ``<split>.npy``, uint8 (N, C, H, W). It stays on disk and is read as
it is needed: for data that do not fit into memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from models.base import device_of
from models.exact.mixtures import ExactScore
from run_lib.data.folders import read_split
from run_lib.data.images import Fitting, ImageReader
from run_lib.data.labels import no_labels
from run_lib.data.places import Database
from run_lib.data.rows import ImageFiles
from run_lib.data.split import Arrays, Split
from sde_lib.noise import Noise
from sde_lib.registry import Registry
from sde_lib.settings import Range

register_dataset: Registry[Callable[..., Any]] = Registry("data set")
"""Functions that find a split of a data set: a ``Split``, ``Arrays``, or a torch ``Dataset`` that has a length.

Each may name parameters of ``CONTEXT``, which the program gives. Every other parameter is a setting of the data set:
its type and default stand in the signature, its meaning under Args.
"""
CONTEXT = ("split", "root", "shape", "levels", "density")
"""What the program gives: "train" or "test"; the folder of all data sets; the shape of a sample; the number of values
of a pixel; the data's density, where the model knows it."""


@register_dataset(name="digits")
def digits(split: str) -> Arrays:
    """Scikit-learn's handwritten digits: 1797 grey images of 8x8 with 17 levels.

    The split is fixed and stratified by class: 1437 images to train on and 360 to test on.
    """
    from sklearn.model_selection import train_test_split

    data = _all_digits()
    rows = train_test_split(np.arange(len(data.target)), test_size=360, stratify=data.target, random_state=0)
    chosen = np.sort(rows[0] if split == "train" else rows[1])
    images = data.images[chosen].astype(np.uint8)[:, None]
    names = tuple(map(str, data.target_names))
    return Arrays(torch.from_numpy(images), torch.from_numpy(data.target[chosen].astype(np.int64)), names)


@functools.cache
def _all_digits() -> Any:
    """Scikit-learn reads them from a table of text, which takes longer than all else that a split needs."""
    from sklearn.datasets import load_digits

    return load_digits()


@register_dataset(name="digits_16")
def digits_16(split: str) -> Arrays:
    """The same digits, enlarged to 16x16 by bicubic interpolation and rounded to their 17 levels."""
    small = digits(split)
    large = torch.nn.functional.interpolate(
        small.images.float(), (16, 16), mode="bicubic", align_corners=False
    )
    return Arrays(large.round().clamp(0, 16).to(torch.uint8), small.labels, small.classes)


@register_dataset(name="exact")
def exact(
    density: ExactScore,
    shape: tuple[int, ...],
    split: str,
    num_draws: Annotated[int, Range(least=1, most=10**8)] = 2000,
) -> Arrays:
    """Draws from the density of an exact model, such as a Gaussian mixture.

    They do not depend on ``config.seed``; the two splits have different draws.

    Args:
        num_draws: number of samples in each split.
    """
    seed, device = {"train": -1, "test": -2}[split], device_of(density)
    draws, again = (Noise(seed, range(num_draws), device) for _ in range(2))
    return Arrays(density.draw((num_draws, *shape), draws).cpu(), density.classes(num_draws, again).cpu())


@register_dataset(name="CelebAHQ")
def celebahq(
    root: Path,
    split: str,
    shape: tuple[int, ...],
    levels: int,
    tfrecords_path: str = "",
    convert: bool = False,
) -> Split:
    """CelebA-HQ's faces, in ``<root>/celebahq``.

    Args:
        tfrecords_path: score_sde's path of TFRecords. They are not read, and an error about missing images says so.
        convert: read image files that are not exactly of the data's form: the first frame, transparency over white,
            colour as grey, CMYK as RGB, 16 bits as 8 or 8 as 16; otherwise they are refused (docs/images.md).
    """
    hint = _no_records(tfrecords_path)
    return read_split(root / "celebahq", split, shape, levels=levels, convert=convert, hint=hint)


@register_dataset(name="FFHQ")
def ffhq(
    root: Path,
    split: str,
    shape: tuple[int, ...],
    levels: int,
    tfrecords_path: str = "",
    convert: bool = False,
) -> Split:
    """The faces of Flickr-Faces-HQ, in ``<root>/ffhq``.

    Args:
        tfrecords_path: score_sde's path of TFRecords. They are not read, and an error about missing images says so.
        convert: read image files that are not exactly of the data's form: the first frame, transparency over white,
            colour as grey, CMYK as RGB, 16 bits as 8 or 8 as 16; otherwise they are refused (docs/images.md).
    """
    hint = _no_records(tfrecords_path)
    return read_split(root / "ffhq", split, shape, levels=levels, convert=convert, hint=hint)


def _no_records(path: str) -> str:
    return f" TFRecords ({path}) are not read: unpack them." if path else ""


@register_dataset(name="imagenet")
def imagenet(root: Path, split: str, shape: tuple[int, ...], levels: int, convert: bool = False) -> Split:
    """ImageNet, in ``<root>/imagenet``: a subfolder for each class.

    Args:
        convert: read image files that are not exactly of the data's form: the first frame, transparency over white,
            colour as grey, CMYK as RGB, 16 bits as 8 or 8 as 16; otherwise they are refused (docs/images.md).
    """
    return read_split(root / "imagenet", split, shape, levels=levels, convert=convert)


@register_dataset(name="lsun")
def lsun(
    root: Path, split: str, shape: tuple[int, ...], levels: int, category: str = "", convert: bool = False
) -> Split:
    """One category of LSUN: folders in ``<root>/lsun/<category>``, or ``<category>_train_lmdb`` and
    ``<category>_val_lmdb`` in ``<root>/lsun`` or ``<root>``, as it comes.

    Args:
        category: the category, such as bedroom or church_outdoor.
        convert: read image files that are not exactly of the data's form: the first frame, transparency over white,
            colour as grey, CMYK as RGB, 16 bits as 8 or 8 as 16; otherwise they are refused (docs/images.md).

    Raises:
        ValueError: no category is set, or there are no images of it.
    """
    if not category:
        raise ValueError("LSUN is a data set for each category: set config.data.category, such as bedroom.")
    name = f"{category}_{'train' if split == 'train' else 'val'}_lmdb"
    for path in (root / "lsun" / name, root / name):
        if path.is_dir():
            place = Database(path)
            names = place.names()
            if not names:
                raise ValueError(f"{path} is empty.")
            fitting = Fitting(resize=True, convert=convert)
            return Split(ImageFiles(names, place, ImageReader(shape, fitting, levels)), no_labels(len(names)))
    return read_split(root / "lsun" / category, split, shape, levels=levels, convert=convert)
