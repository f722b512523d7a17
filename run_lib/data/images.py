"""Reads image files as arrays of one shape: what is not exactly the data's is refused, or converted where asked.

This is the only reader of image files (``run_lib.pictures`` writes them); data sets, base samples, masks and images to
be edited all go through it. ``docs/images.md`` has what happens to each form of file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from run_lib.data.forms import (
    BITS_8,
    BITS_16,
    File,
    Picture,
    RefusedError,
    UnreadableError,
    decode,
    is_plain,
    opened,
)

CONVERSION = (
    "takes the first frame, lays transparent pixels over white, turns colour into grey, CMYK into RGB, and 16 bits "
    "into 8 or 8 into 16"
)
"""What ``convert`` does, for messages."""


@dataclass(frozen=True)
class Fitting:
    """What may be done to image files that are not exactly of the data's form.

    Args:
        resize: cut the largest centred box of the data's proportions and resize it with Pillow's bicubic filter;
            otherwise an image of another size is refused.
        convert: take the first of several frames, lay transparent pixels over white, turn colour into grey (ITU-R
            601 luma), CMYK into RGB, and 16 bits a channel into 8 or 8 into 16; otherwise such images are refused.
        crop: side in pixels of the central square that is cut and resized instead of the largest box, from images
            that are not smaller.
    """

    resize: bool
    convert: bool
    crop: int | None = None


@dataclass(frozen=True)
class ImageReader:
    """Reads image files as arrays of one shape.

    Args:
        shape: (C, H, W) of the arrays. One channel is grey; more are colour.
        fitting: what may be done to an image of another form.
        levels: number of values of a pixel of the data. Up to 256 go with files of 8 bits a channel, more with
            files of 16; 0, of continuous data, with both.
    """

    shape: tuple[int, ...]
    fitting: Fitting
    levels: int = 256

    @property
    def white(self) -> int:
        """The largest value of a channel that there can be, 255 or 65535."""
        return BITS_16 if self.levels == 0 or self.levels > 256 else BITS_8

    def refusal(self, path: File) -> str:
        """Why an image is not accepted, a predicate such as "is colour", or "". What its header tells is enough for
        most files.

        Raises:
            UnreadableError: it is damaged, as far as was looked.
        """
        channels, height, width = self.shape
        with opened(path) as file:
            plain = self.white == BITS_8 and is_plain(file, path, channels)
            size = file.size
        if plain:
            return "" if self.fitting.resize or size == (width, height) else _of_size(size[1], size[0])
        try:
            self.read(path)
        except RefusedError as error:
            return str(error)
        return ""

    def read(self, path: File) -> np.ndarray:
        """The pixels of an image, (C, H, W): uint8 up to ``white`` = 255, else int32.

        Raises:
            RefusedError: it is not accepted.
            UnreadableError: it is damaged.
        """
        channels, height, width = self.shape
        picture = decode(path)
        pixels, changed = exact(picture, channels)
        if self.levels and picture.white != self.white:
            changed.append(f"is of {_bits(picture.white)} bits a channel, where data.levels={self.levels} "
                           f"takes {_bits(self.white)}")  # fmt: skip
        reasons = [] if self.fitting.convert else changed
        if not self.fitting.resize and pixels.shape[:2] != (height, width):
            reasons = [*reasons, _of_size(*pixels.shape[:2])]
        if reasons:
            raise RefusedError(" and ".join(reasons))
        pixels = _scaled(pixels, picture.white, self.white)
        if self.fitting.resize:
            pixels = _fit(pixels, height, width, self.fitting.crop)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _bits(white: int) -> int:
    return 8 if white == BITS_8 else 16


def _of_size(height: int, width: int) -> str:
    return f"is {height}x{width} (height x width)"


def exact(picture: Picture, channels: int) -> tuple[np.ndarray, list[str]]:
    """The pixels (H, W, C) of a picture in so many channels, and how they differ from the picture's own.

    Grey becomes colour, and colour that is all grey becomes grey, without a difference.
    """
    changed, pixels, white = list(picture.changed), picture.pixels, picture.white
    if picture.alpha is not None:
        changed.append("is partly transparent")
        alpha = picture.alpha.astype(np.int64)
        blended = (pixels * alpha + white * (white - alpha) + white // 2) // white
        pixels = blended.astype(pixels.dtype)
    if channels == 1 and pixels.shape[2] == 3:
        if (pixels != pixels[..., :1]).any():
            changed.append("is colour")
        red, green, blue = (pixels[..., k : k + 1].astype(np.int64) for k in range(3))
        # ITU-R 601-2, rounded as Pillow does.
        pixels = ((19595 * red + 38470 * green + 7471 * blue + 2**15) >> 16).astype(pixels.dtype)
    if channels > 1 and pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    return pixels, changed


def _scaled(pixels: np.ndarray, white: int, wanted: int) -> np.ndarray:
    """The nearest values of the same intensities: uint8 up to 255, int32 up to 65535."""
    if white > wanted:
        return ((pixels.astype(np.int32) + 128) // 257).astype(np.uint8)
    return pixels.astype(np.int32) * 257 if white < wanted else pixels


def read_mask(path: File) -> Tensor:
    """The mask that an image file holds, (H, W): 1 where it is white and 0 where it is black.

    Raises:
        ValueError: it cannot be read, or its channels differ.
    """
    try:
        picture = decode(path)
    except RefusedError as error:
        raise ValueError(f"it {error}.") from error
    except UnreadableError as error:
        raise ValueError(f"it cannot be read as an image: {error}") from error
    pixels, changed = exact(picture, 1)
    if changed:
        what = " and ".join(changed).replace("is colour", "is in colour")
        raise ValueError(f"it {what}; a mask is one picture of black and white.")
    return torch.from_numpy(pixels[..., 0] / picture.white)


def _fit(pixels: np.ndarray, height: int, width: int, crop: int | None) -> np.ndarray:
    """The largest centred box of the wanted proportions, or the central square of side ``crop``, resized."""
    if pixels.dtype != np.uint8:  # Pillow resizes colours of 8 bits, and single channels of floats
        channels = [
            _resized(channel.astype(np.float32), height, width, crop) for channel in pixels.transpose(2, 0, 1)
        ]
        return np.stack(channels, axis=2).round().clip(0, BITS_16).astype(np.int32)
    return np.atleast_3d(_resized(pixels[..., 0] if pixels.shape[2] == 1 else pixels, height, width, crop))


def _resized(pixels: np.ndarray, height: int, width: int, crop: int | None) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    scale = min(image.width / width, image.height / height)
    # An image that is smaller than the square has been cut already.
    side = crop if crop and crop <= min(image.size) else None
    box_width, box_height = (side, side) if side else (round(width * scale), round(height * scale))
    left, top = (image.width - box_width) // 2, (image.height - box_height) // 2
    # Cut before resizing: the filter would see beyond a box given to ``resize``.
    image = image.crop((left, top, left + box_width, top + box_height))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
