"""Folders of image files as arrays: every image below a folder, and the splits of a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from run_lib.data.classes import class_names, labels_of, numbered_as
from run_lib.data.forms import RefusedError, UnreadableError
from run_lib.data.images import CONVERSION, Fitting, ImageReader
from run_lib.data.labels import no_labels
from run_lib.data.levels import Arrays
from run_lib.data.listing import Listing, left_out_sentence, list_images
from run_lib.data.packed import PackedError, read_array

SHOWN = 20
"""Image files that are not read, after which no more are looked for."""


def read_files(folder: Path, listing: Listing, reader: ImageReader, option: str, hint: str = "") -> Arrays:
    """Image files of a folder, at least one; each subfolder that holds some is a class.

    Args:
        folder: where they are.
        listing: which they are.
        reader: reads each.
        option: the setting that converts what is not exactly the data's, for messages.
        hint: a sentence that ends the message about images that cannot be read.

    Raises:
        ValueError: images are damaged or refused.
    """
    pixels, refused, damaged = [], [], []
    for name in listing.names:
        try:
            pixels.append(reader.read(folder / name))
        except RefusedError as error:
            refused.append(f"{folder / name} {error}")
        except UnreadableError as error:
            damaged.append(f"{folder / name} cannot be read: {error}")
        if len(refused) + len(damaged) == SHOWN:
            break
    if refused or damaged:
        advice = f" --{option} {CONVERSION}; or take such files out." if refused else " Take such files out."
        raise ValueError(f"{'; '.join(damaged + refused)}.{advice}{hint}")
    classes = class_names(listing.names)
    return Arrays(
        torch.from_numpy(np.stack(pixels)), labels_of(listing.names, classes), classes, 0, listing.left_out
    )


def read_split(
    folder: Path,
    split: str,
    shape: tuple[int, ...],
    *,
    levels: int = 256,
    convert: bool = False,
    crop: int | None = None,
    hint: str = "",
) -> Arrays:
    """A split of a data set in ``folder``: image files, cropped to their centre and resized, or one array.

    The training split defines the classes. A class of the test split has the number that it has there.

    Args:
        folder: holds a folder ``<split>`` of image files, or the array ``<split>.npy``, uint8 (N, C, H, W).
        split: "train" or "test".
        shape: (C, H, W) of the images, grey (one channel) or in colour (three).
        levels: number of values of a pixel.
        convert: read images that are not exactly of this form, as ``Fitting`` says.
        crop: side of the central square that is kept; the largest centred box unless given.
        hint: a sentence that ends the message about missing files.

    Raises:
        ValueError: there are no images, an image cannot be read, or the array is of another kind.
    """
    packed = folder / f"{split}.npy"
    if packed.is_file():
        return _packed(packed)
    reader = ImageReader(shape, Fitting(resize=True, convert=convert, crop=crop), levels)
    listing = list_images(folder / split)
    if not listing.names:
        others = left_out_sentence(listing.left_out)
        raise ValueError(
            f"there are no images in {folder / split}/{f' ({others})' if others else ''} and there is no {packed}. "
            f"Put PNG or JPEG files there, or point --config.data.root elsewhere.{hint}"
        )
    arrays = read_files(folder / split, listing, reader, "config.data.convert")
    if split == "train" or not (folder / "train").is_dir():
        return arrays
    return numbered_as(arrays, class_names(list_images(folder / "train").names))


def _packed(path: Path) -> Arrays:
    """An array that stays on disk and is read as it is needed; its images have no classes."""
    try:
        images = read_array(path, mapped=True)
    except PackedError as error:
        raise ValueError(f"{path} {error}; expected uint8 (N, C, H, W).") from error
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(f"{path} holds {images.dtype} of shape {images.shape}; expected uint8 (N, C, H, W).")
    return Arrays(torch.from_numpy(images), no_labels(len(images)), on_disk=True)
