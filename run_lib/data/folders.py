"""Folders of image files as splits of a data set, each subfolder a class; or one packed file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from run_lib.data.classes import class_names, labels_of, numbered_as
from run_lib.data.images import Fitting, ImageReader
from run_lib.data.listing import Listing, left_out_sentence, list_images
from run_lib.data.packed_split import open_packed
from run_lib.data.places import Folder, Place
from run_lib.data.rows import ImageFiles
from run_lib.data.split import MissingSplitError, Split

FOLDERS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}
"""What the folder of a split may be called."""


def image_files(
    listing: Listing, place: Place, reader: ImageReader, option: str = "config.data.convert", hint: str = ""
) -> Split:
    """Image files, at least one; each subfolder that holds some is a class. Nothing is read.

    Args:
        listing: which they are.
        place: where they are.
        reader: reads each.
        option: the setting that converts what is not exactly the data's, for messages.
        hint: a sentence that ends the message about images that cannot be read.
    """
    classes = class_names(listing.names)
    rows = ImageFiles(tuple(listing.names), place, reader, option, hint)
    return Split(rows, labels_of(listing.names, classes), classes, 0, listing.left_out)


def everything_below(
    folder: Path, shape: tuple[int, ...], *, levels: int, convert: bool
) -> tuple[Split, Sequence[str]]:
    """All image files in a folder and below, and their names.

    Raises:
        ValueError: there are none.
    """
    listing = list_images(folder)
    if not listing.names:
        raise ValueError(
            f"{_none(folder, listing)}. Put PNG or JPEG files there, in a subfolder for each class if there are "
            f"classes, or point --config.data.root elsewhere."
        )
    reader = ImageReader(shape, Fitting(resize=True, convert=convert), levels)
    return image_files(listing, Folder(folder), reader), listing.names


def read_split(
    folder: Path,
    split: str,
    shape: tuple[int, ...],
    *,
    levels: int = 256,
    convert: bool = False,
    crop: int | None = None,
    hint: str = "",
) -> Split:
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
        MissingSplitError: there is the other split, and not this one.
        ValueError: there are no images, or the array is of another kind.
    """
    names = FOLDERS[split]
    for name in names:
        if (folder / f"{name}.npy").is_file():
            return packed(folder / f"{name}.npy")
    here = next((folder / name for name in names if (folder / name).is_dir()), folder / names[0])
    listing = list_images(here)
    if not listing.names:
        others = left_out_sentence(listing.left_out)
        message = (
            f"there are no images in {here}/{f' ({others})' if others else ''} and there is no "
            f"{folder / names[0]}.npy. Put PNG or JPEG files there, or point --config.data.root elsewhere.{hint}"
        )
        other = any(
            (folder / f"{name}{ending}").exists()
            for name in FOLDERS["test" if split == "train" else "train"]
            for ending in ("", ".npy")
        )
        raise MissingSplitError(message) if other else ValueError(message)
    reader = ImageReader(shape, Fitting(resize=True, convert=convert, crop=crop), levels)
    found = image_files(listing, Folder(here), reader)
    if split == "train" or not (folder / "train").is_dir():
        return found
    return numbered_as(found, class_names(list_images(folder / "train").names))


def _none(folder: Path, listing: Listing) -> str:
    """That there are no images in a folder, and what there is; or no such folder."""
    if not folder.is_dir():
        return f"there is no folder {folder}/"
    others = left_out_sentence(listing.left_out)
    return f"there are no images in {folder}/{f' ({others})' if others else ''}"


def packed(path: Path) -> Split:
    """An array of images that stays on disk and is read as it is needed."""
    expected = "uint8 (N, C, H, W)"
    found = open_packed(path, expected)
    if found.rows.dtype != torch.uint8 or len(found.rows.shape) != 3:
        shape = (len(found), *found.rows.shape)
        raise ValueError(f"{path} holds {str(found.rows.dtype)[6:]} of shape {shape}; expected {expected}.")
    return found
