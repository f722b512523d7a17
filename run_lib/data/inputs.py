"""Images to work on: a folder of files, an .npz, or a split of the data set."""

from __future__ import annotations

import abc
import sys
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from run_lib.data.images import Fitting, fit
from run_lib.data.labels import NO_LABEL
from run_lib.data.levels import DataSpec

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})
CHANNELS = {"1": 1, "L": 1, "P": 3, "RGB": 3}
"""Channels of Pillow's modes that hold 8 bits a channel and no transparency."""
CONVERTIBLE = frozenset({*CHANNELS, "LA", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})
_ROTATED = range(5, 9)  # values of EXIF's orientation that exchange width and height
_ORIENTATION = 0x0112


class UnreadableError(Exception):
    """An image that cannot be read, and why."""


@dataclass(frozen=True)
class Skipped:
    """An image that was left out, and why."""

    image: str
    reason: str


class Inputs(abc.ABC):
    """Images in a fixed order, read one at a time.

    Attributes:
        names: of the images, readable or not; of a folder's, paths in it.
    """

    names: Sequence[str]

    @abc.abstractmethod
    def read(self, index: int) -> Tensor:
        """The image in the network's range, (C, H, W).

        Raises:
            UnreadableError: it cannot be read.
        """

    def label(self, index: int) -> int:
        """The image's class, where it is known."""
        return NO_LABEL

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class ArrayInputs(Inputs):
    """Images in memory, in the network's range (N, C, H, W)."""

    images: Tensor
    labels: Tensor

    @property
    def names(self) -> Sequence[str]:  # type: ignore[override]
        return [f"{index:05d}" for index in range(len(self.images))]

    def read(self, index: int) -> Tensor:
        return self.images[index]

    def label(self, index: int) -> int:
        return int(self.labels[index])


@dataclass(frozen=True)
class FolderInputs(Inputs):
    """Files below a folder. Intensities of 8 bits, whatever the number of the data's levels."""

    folder: Path
    names: Sequence[str]
    data: DataSpec
    fitting: Fitting

    def read(self, index: int) -> Tensor:
        channels, height, width = self.data.shape
        try:
            with Image.open(self.folder / self.names[index]) as file:
                image = ImageOps.exif_transpose(file).convert("L" if channels == 1 else "RGB")
        except Exception as error:  # Pillow's decoders raise whatever they meet in a damaged file
            raise UnreadableError(f"{type(error).__name__}: {error}") from error
        if self.fitting.resize and image.size != (width, height):
            image = fit(image, height, width)
        pixels = np.atleast_3d(np.asarray(image, dtype=np.uint8)).transpose(2, 0, 1)
        return self.data.from_intensity(torch.from_numpy(pixels / 255).float())


def open_inputs(source: str, field: str, data: DataSpec, fitting: Fitting, most: int = 0) -> Inputs:
    """The images that ``source`` names, checked as far as their headers tell.

    Args:
        source: "test", "train", the path of a folder or of an .npz with ``arr_0`` (and ``arr_1``, classes).
        field: of the configuration, for messages.
        data: what the network was trained on.
        fitting: what may be done to files of another kind.
        most: the first so many only; 0: all.

    Raises:
        ValueError: nothing there, or images of another size or number of channels.
    """
    if len(data.shape) != 3 or data.shape[0] not in (1, 3):
        raise ValueError(
            f"{field} takes images with 1 or 3 channels, and this configuration's data have the shape "
            f"{data.shape}."
        )
    path = Path(source)
    if source in ("test", "train"):
        split = data.load(source)
        return _first(ArrayInputs(data.at_levels(split.images), split.labels), most)
    if path.is_dir():
        return _folder(path, field, data, fitting, most)
    if path.suffix == ".npz" and path.is_file():
        return _first(_archive(path, field, data), most)
    raise ValueError(
        f"{field}={source!r} is neither 'test' nor 'train', nor a folder of images, nor an .npz that exists."
    )


def _first(inputs: ArrayInputs, most: int) -> ArrayInputs:
    return ArrayInputs(inputs.images[:most], inputs.labels[:most]) if most else inputs


def _archive(path: Path, field: str, data: DataSpec) -> ArrayInputs:
    try:
        with np.load(path) as held:
            images = torch.from_numpy(np.asarray(held["arr_0"]))
            labels = torch.from_numpy(held["arr_1"]).long() if "arr_1" in held else None
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{field}={path} is no .npz with arr_0: {error}") from error
    if images.ndim == 4 and tuple(images.shape[1:]) != data.shape and images.shape[-1] == data.shape[0]:
        images = images.permute(0, 3, 1, 2)
    if tuple(images.shape[1:]) != data.shape or not len(images):
        raise ValueError(
            f"{field}={path}: arr_0 has the shape {tuple(images.shape)}, and the data are images of {data.shape}: "
            f"give (N, C, H, W) or (N, H, W, C) of that size."
        )
    if images.is_floating_point() != (data.levels == 0):
        wanted = f"levels 0 to {data.levels - 1} as integers" if data.levels else "floats in the data's range"
        raise ValueError(f"{field}={path}: arr_0 is {images.dtype}, and the data are {wanted}.")
    if data.levels and not 0 <= int(images.min()) <= int(images.max()) < data.levels:
        raise ValueError(
            f"{field}={path} has values from {int(images.min())} to {int(images.max())}, and "
            f"data.levels={data.levels} allow 0 to {data.levels - 1}."
        )
    return ArrayInputs(
        data.at_levels(images), torch.full((len(images),), NO_LABEL) if labels is None else labels
    )


def _folder(path: Path, field: str, data: DataSpec, fitting: Fitting, most: int) -> FolderInputs:
    found = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if _is_image(p))
    if not found:
        raise ValueError(
            f"there are no images in {field}={path}: no file of {', '.join(sorted(SUFFIXES))} there or below."
        )
    names = found[: most or None]
    unreadable, wrong = [], []
    for name in names:
        try:
            with Image.open(path / name) as image:
                reason = _refusal(image, data, fitting)
        except Exception as error:  # as for reading, which will find the same
            unreadable.append(f"{name}: {type(error).__name__}: {error}")
            continue
        if reason:
            wrong.append(f"{name} {reason}")
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        section = field.rpartition(".")[0]
        raise ValueError(
            f"{field}={path} holds images that are not of the data's shape {data.shape}: {'; '.join(wrong[:3])}"
            f"{more}. --{section}.resize cuts the largest centred box and resizes it, --{section}.convert "
            f"exchanges grey and colour and drops transparency; or take those files out."
        )
    if len(unreadable) == len(names):
        raise ValueError(
            f"none of the {len(names)} image files in {field}={path} can be read: {unreadable[0]}"
        )
    return FolderInputs(path, names, data, fitting)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _refusal(image: Image.Image, data: DataSpec, fitting: Fitting) -> str:
    """Why an opened image cannot be used; empty if it can."""
    channels, height, width = data.shape
    if image.mode not in CONVERTIBLE:
        return f"is of more than 8 bits a channel (Pillow's mode {image.mode}), which is not read"
    if not fitting.convert and CHANNELS.get(image.mode) != channels:
        kind = {1: "grey", 3: "colour"}.get(CHANNELS.get(image.mode, 0), f"of Pillow's mode {image.mode}")
        return f"is {kind}"
    turned = image.getexif().get(_ORIENTATION) in _ROTATED
    size = image.size[::-1] if turned else image.size
    if not fitting.resize and size != (width, height):
        return f"is {size[1]}x{size[0]} (height x width)"
    return ""


def image_labels(
    num_classes: int, inputs: Inputs, rows: Sequence[int], section: str, label: int | None
) -> Tensor:
    """Classes of the images, the given one for all or their own.

    Raises:
        ValueError: the network needs them and they are not known, or it does not take them.
    """
    if label is not None and not num_classes:
        raise ValueError(f"{section}.label is set, but the network is told no class; leave it unset.")
    labels = torch.tensor([inputs.label(row) if label is None else label for row in rows])
    if num_classes and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f"the network is told one of {num_classes} classes, and those of the images are not known or out "
            f"of range: set --{section}.label=0 to {num_classes - 1}, the class of all."
        )
    return labels


def output_names(names: Sequence[str]) -> list[str]:
    """Each image's PNG: its own name with .png in place of its suffix; where that would be two images', after it."""
    plain = [str(PurePosixPath(name).with_suffix(".png")) if "." in name else f"{name}.png" for name in names]
    count = Counter(plain)
    return [p if count[p] == 1 else f"{name}.png" for p, name in zip(plain, names, strict=True)]


@dataclass(frozen=True)
class Loaded:
    """The readable ones of some images: their rows, the images (B, C, H, W) on the CPU; and the others."""

    rows: list[int]
    images: Tensor
    skipped: list[Skipped]


def load(inputs: Inputs, rows: Sequence[int]) -> Loaded:
    """Read the images of the given rows."""
    kept, images, skipped = [], [], []
    for row in rows:
        try:
            images.append(inputs.read(row))
            kept.append(row)
        except UnreadableError as error:
            skipped.append(Skipped(inputs.names[row], str(error)))
    return Loaded(kept, torch.stack(images) if images else torch.empty(0), skipped)


def finish(skipped: Sequence[Skipped], total: int) -> None:
    """List images that could not be read, and leave with status 1 if there are any: all else is done.

    Raises:
        SystemExit: there are.
    """
    if skipped:
        print(
            f"warning: {len(skipped)} of {total} images could not be read and were skipped:", file=sys.stderr
        )
        for one in skipped:
            print(f"  {one.image}: {one.reason}", file=sys.stderr)
        raise SystemExit(1)
