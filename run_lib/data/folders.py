"""Folders of image files as arrays: every image below a folder, and the splits of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from run_lib.data.images import TRAINING_FILES, Fitting, ImageReader, UnreadableError
from run_lib.data.labels import folder_labels, no_labels
from run_lib.data.levels import Arrays
from run_lib.data.packed import PackedError, read_array


def read_files(folder: Path, names: Sequence[str], reader: ImageReader, hint: str = "") -> Arrays:
    """Image files of a folder, at least one; each subfolder that holds some is a class.

    Args:
        folder: where they are.
        names: their paths in it.
        reader: reads each.
        hint: a sentence that ends the message about an image that cannot be read.

    Raises:
        ValueError: an image cannot be read.
    """
    pixels = []
    for name in names:
        try:
            pixels.append(reader.read(folder / name))
        except UnreadableError as error:
            raise ValueError(f"{folder / name} cannot be read: {error}.{hint}") from error
    return Arrays(torch.from_numpy(np.stack(pixels)), folder_labels(names))


def read_split(
    folder: Path, split: str, shape: tuple[int, ...], *, crop: int | None = None, hint: str = ""
) -> Arrays:
    """A split of a data set in ``folder``: image files, cropped to their centre and resized, or one array.

    Args:
        folder: holds a folder ``<split>`` of image files, or the array ``<split>.npy``, uint8 (N, C, H, W).
        split: "train" or "test".
        shape: (C, H, W) of the images, grey (one channel) or in colour (three).
        crop: side of the central square that is kept; the largest centred box unless given.
        hint: a sentence that ends the message about missing files.

    Raises:
        ValueError: there are no images, an image cannot be read, or the array is of another kind.
    """
    packed = folder / f"{split}.npy"
    if packed.is_file():
        return _packed(packed)
    reader = ImageReader(shape, Fitting(resize=True, convert=True, crop=crop), TRAINING_FILES)
    names = reader.names(folder / split)
    if not names:
        raise ValueError(
            f"there are no images in {folder / split}/ and there is no {packed}. Put PNG or JPEG files "
            f"there, or point --config.data.root elsewhere.{hint}"
        )
    return read_files(folder / split, names, reader)


def _packed(path: Path) -> Arrays:
    """An array that stays on disk and is read as it is needed; its images have no classes."""
    try:
        images = read_array(path, mapped=True)
    except PackedError as error:
        raise ValueError(f"{path} {error}; expected uint8 (N, C, H, W).") from error
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(f"{path} holds {images.dtype} of shape {images.shape}; expected uint8 (N, C, H, W).")
    return Arrays(torch.from_numpy(images), no_labels(len(images)))
