"""Image files: which files of a folder are images, which forms are read, and what each becomes.

This is the only reader of image files (``run_lib.pictures`` writes them). Its uses differ in two values: a
``FileRule`` says which forms of file are accepted, and a ``Fitting`` what may be done to an image whose size or
channels are not those of the data.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

_CHANNELS = {"1": 1, "L": 1, "P": 3, "RGB": 3}
"""Channels of Pillow's modes that hold 8 bits a channel and no transparency."""
_EIGHT_BITS = frozenset({*_CHANNELS, "LA", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})
_ROTATED = range(5, 9)  # values of EXIF's orientation that exchange width and height
_ORIENTATION = 0x0112


class UnreadableError(ValueError):
    """An image that cannot be read, and why."""


@dataclass(frozen=True)
class FileRule:
    """Which files are taken for images, and which forms of them are accepted.

    Args:
        suffixes: endings of the names of image files, in lower case.
        hidden: whether files are read whose names begin with a dot.
        clips: whether images of more than 8 bits a channel are read, their values clipped to 255 by Pillow;
            otherwise they are refused.
        upright: whether an image is turned as its EXIF orientation says; otherwise it is read as it is stored.
    """

    suffixes: frozenset[str]
    hidden: bool
    clips: bool
    upright: bool


TRAINING_FILES = FileRule(frozenset({".png", ".jpg", ".jpeg"}), hidden=True, clips=True, upright=False)
"""The rule for data sets, base samples and masks."""
INPUT_FILES = FileRule(
    frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}),
    hidden=False,
    clips=False,
    upright=True,
)
"""The rule for images that a user gives to be edited."""


@dataclass(frozen=True)
class Fitting:
    """What may be done to image files whose size or channels are not those of the data.

    Args:
        resize: cut the largest centred box of the data's proportions and resize it with Pillow's bicubic filter;
            otherwise an image of another size is refused.
        convert: turn grey into colour and colour into grey (ITU-R 601 luma), and drop transparency; otherwise
            such an image is refused.
        crop: side in pixels of the central square that is cut and resized instead of the largest box.
    """

    resize: bool
    convert: bool
    crop: int | None = None


@dataclass(frozen=True)
class ImageReader:
    """Reads image files as 8-bit arrays of one shape.

    Args:
        shape: (C, H, W) of the arrays. One channel is grey; more are colour.
        fitting: what may be done to an image of another shape.
        rule: which files and forms are accepted.
    """

    shape: tuple[int, ...]
    fitting: Fitting
    rule: FileRule

    def names(self, folder: Path) -> list[str]:
        """Paths of the image files in a folder and below, relative to it, sorted folder by folder."""
        found = sorted(path for path in folder.rglob("*") if self._is_image(path))
        return [path.relative_to(folder).as_posix() for path in found]

    def _is_image(self, path: Path) -> bool:
        visible = self.rule.hidden or not path.name.startswith(".")
        return visible and path.suffix.lower() in self.rule.suffixes and path.is_file()

    def refusal(self, path: Path) -> str:
        """Why an image is not accepted, as far as its header tells: a predicate such as "is colour", or "".

        Raises:
            UnreadableError: its header cannot be read.
        """
        with _opened(path) as file:
            return self._refusal(file)

    def _refusal(self, file: Image.Image) -> str:
        channels, height, width = self.shape
        if not self.rule.clips and file.mode not in _EIGHT_BITS:
            return f"is of more than 8 bits a channel (Pillow's mode {file.mode}), which is not read"
        if not self.fitting.convert and _CHANNELS.get(file.mode) != channels:
            kind = {1: "grey", 3: "colour"}.get(_CHANNELS.get(file.mode, 0), f"of Pillow's mode {file.mode}")
            return f"is {kind}"
        if not self.fitting.resize and (size := self._size(file)) != (width, height):
            return f"is {size[1]}x{size[0]} (height x width)"
        return ""

    def _size(self, file: Image.Image) -> tuple[int, int]:
        """(width, height) of the image once it is upright."""
        # A square stays one; to look for EXIF's entry in a PNG is to decode all of it.
        if file.width == file.height or not self.rule.upright:
            return file.size
        return file.size[::-1] if file.getexif().get(_ORIENTATION) in _ROTATED else file.size

    def read(self, path: Path) -> np.ndarray:
        """The pixels of an image, uint8 (C, H, W).

        Raises:
            UnreadableError: it is damaged, or not accepted.
        """
        channels, height, width = self.shape
        with _opened(path) as file:
            reason = self._refusal(file)
            image = None if reason else _decoded(file, "L" if channels == 1 else "RGB", self.rule)
        if image is None:
            raise UnreadableError(f"it {reason}")
        if self.fitting.resize:
            image = _fit(image, height, width, self.fitting.crop)
        return np.atleast_3d(np.asarray(image, dtype=np.uint8)).transpose(2, 0, 1)


def read_mask(path: Path) -> Tensor:
    """The mask that an image file holds, (H, W): 1 where it is white and 0 where it is black.

    Raises:
        ValueError: it cannot be read, or its channels differ.
    """
    try:
        with _opened(path) as file:
            pixels = np.asarray(_decoded(file, "RGB", TRAINING_FILES))
    except UnreadableError as error:
        raise ValueError(f"it cannot be read as an image: {error}") from error
    if (pixels != pixels[..., :1]).any():
        raise ValueError("it is in colour; a mask is black and white.")
    return torch.from_numpy(pixels[..., 0] / 255)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error", Image.DecompressionBombWarning
            )  # Pillow's own error has twice the limit
            file = Image.open(path)
        with file:
            yield file
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UnreadableError(
            f"it has more than {Image.MAX_IMAGE_PIXELS} pixels, which are not read"
        ) from error
    except Exception as error:  # Pillow's decoders raise whatever they meet in a damaged file
        raise UnreadableError(f"{type(error).__name__}: {error}") from error


def _decoded(file: Image.Image, mode: str, rule: FileRule) -> Image.Image:
    """The whole image in one of Pillow's modes. Transparency is dropped, not blended."""
    return (ImageOps.exif_transpose(file) if rule.upright else file).convert(mode)


def _fit(image: Image.Image, height: int, width: int, crop: int | None) -> Image.Image:
    """The largest centred box of the wanted proportions, or the central square of side ``crop``, resized."""
    scale = min(image.width / width, image.height / height)
    box_width, box_height = (crop, crop) if crop else (round(width * scale), round(height * scale))
    left, top = (image.width - box_width) // 2, (image.height - box_height) // 2
    # Cut before resizing: the filter would see beyond a box given to ``resize``.
    image = image.crop((left, top, left + box_width, top + box_height))
    return image.resize((width, height), Image.Resampling.BICUBIC)
