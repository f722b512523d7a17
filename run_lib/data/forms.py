"""The forms of image files: bits, colours, transparency, frames, orientation; and the pixels that each decodes to."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Literal, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

_GREY, _COLOUR = frozenset({"1", "L"}), frozenset({"P", "RGB", "RGBX"})
_TRANSPARENT = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_OTHER_COLOURS = frozenset({"CMYK", "YCbCr"})
_ORIENTATION = 0x0112  # EXIF's entry
_UPRIGHT = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
"""Of EXIF's orientations, what makes an image (H, W, C) upright."""
BITS_8, BITS_16 = 2**8 - 1, 2**16 - 1
"""The largest values of a channel, which stand for white."""


class File(Protocol):
    """What an image is decoded from: a path, or a member of an archive."""

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        """Its bytes, from the first on."""
        ...


class UnreadableError(ValueError):
    """An image that cannot be read, and why."""


class RefusedError(UnreadableError):
    """A whole image of a form that is not accepted: the message is a predicate, such as "is colour"."""


@dataclass(frozen=True)
class Picture:
    """A decoded image, upright.

    Attributes:
        pixels: (H, W, 1) if it is grey, (H, W, 3) in colour.
        alpha: opacity (H, W, 1); None where all of it is opaque.
        white: the largest value of a channel, 255 or 65535.
        changed: what decoding has changed, as predicates: "has 3 frames".
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    white: int
    changed: tuple[str, ...] = ()


@contextmanager
def opened(path: File) -> Iterator[Image.Image]:
    """The image in a file, of which the header has been read.

    Raises:
        UnreadableError: it is damaged, no image, or has more pixels than Pillow thinks safe.
    """
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            # What Pillow warns of, such as damaged EXIF data, lies beside the pixels (docs/images.md).
            warnings.simplefilter("ignore", UserWarning)
            # Pillow's own error has twice the limit.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(stream) as file:
                yield file
    except UnreadableError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UnreadableError(
            f"it has more than {Image.MAX_IMAGE_PIXELS} pixels, which are not read"
        ) from error
    except MemoryError:  # the machine's fault, and none of the file's
        raise
    except UnidentifiedImageError as error:
        raise UnreadableError("it is no image of a kind that is known") from error
    except Exception as error:  # Pillow's decoders raise whatever they meet in a damaged file
        number = error.errno if isinstance(error, OSError) else None
        raise UnreadableError(
            "it is damaged, or of a form that Pillow does not decode"
            if number is None
            else os.strerror(number)
        ) from error


def decode(path: File) -> Picture:
    """The first frame of an image file.

    Raises:
        UnreadableError: it is damaged.
        RefusedError: its values have no meaning as intensities, or Pillow does not decode them whole.
    """
    with opened(path) as file:
        refuse_values(file, path)
        frames = frames_of(file)
        changed = [f"has {frames} frames"] if frames > 1 else []
        white = BITS_16 if is_deep(file, path) else BITS_8
        if white == BITS_8:
            if file.mode in _OTHER_COLOURS:
                changed.append(f"is {file.mode}")
            pixels, alpha = _shallow(file)
        else:
            pixels, alpha = _deep(file, path)
        # Of a TIFF, Pillow has turned the pixels already and removed the entry.
        turn = _UPRIGHT.get(file.getexif().get(_ORIENTATION, 1), lambda pixels: pixels)
        opaque = alpha is None or bool((alpha == white).all())
        return Picture(turn(pixels), None if alpha is None or opaque else turn(alpha), white, tuple(changed))


def is_plain(file: Image.Image, path: File, channels: int) -> bool:
    """Whether a header tells that a file has the pixels of an 8-bit image of so many channels, as they are."""
    return (
        file.mode == ("L" if channels == 1 else "RGB")
        and "transparency" not in file.info
        and frames_of(file) == 1
        and not is_deep(file, path)
        # To look for the entry in a PNG is to decode all of it; a square stays one when it is turned.
        and (file.width == file.height or file.getexif().get(_ORIENTATION, 1) not in _UPRIGHT)
    )


def frames_of(file: Image.Image) -> int:
    """Frames or pages. The further pictures of a camera's JPEG (MPO) are previews and depths of the first."""
    return 1 if file.format == "MPO" else getattr(file, "n_frames", 1)


def is_deep(file: Image.Image, path: File) -> bool:
    """Whether the channels have 16 bits. Pillow opens some such files as if they had 8."""
    if file.format == "PNG":
        with path.open("rb") as header:
            return header.read(25)[24] == 16  # IHDR comes first
    if file.format == "TIFF":
        return max(_bits_of_tiff(file)) > 8
    if file.format == "PPM":
        return file.mode.startswith("I") or any(
            isinstance(argument, int) and argument > BITS_8
            for tile in getattr(file, "tile", ())
            for argument in (tile[3] if isinstance(tile[3], tuple) else ())
        )
    return file.mode.startswith("I;16")


def _bits_of_tiff(file: Image.Image) -> tuple[int, ...]:
    bits: tuple[int, ...] = getattr(file, "tag_v2", {}).get(258, (1,))
    return bits


def refuse_values(file: Image.Image, path: File) -> None:
    """Refuse files whose values no rule turns into intensities.

    Raises:
        RefusedError: saying how to save them instead.
    """
    instead = "save it as a PNG of 8 or 16 bits a channel"
    if file.mode.startswith("F"):
        raise RefusedError(f"holds floating-point values, which have no black and white: {instead}")
    if (file.mode.startswith("I") and not is_deep(file, path)) or max(_bits_of_tiff(file)) > 16:
        raise RefusedError(f"holds integers of 32 bits: {instead}")
    if is_deep(file, path) and file.format != "PNG" and not file.mode.startswith("I"):
        raise RefusedError(f"is of 16 bits a channel and in colour, as {file.format}: {instead}")
    if file.mode not in _GREY | _COLOUR | _TRANSPARENT | _OTHER_COLOURS and not file.mode.startswith("I"):
        raise RefusedError(f"is of Pillow's mode {file.mode}: {instead}")


def _shallow(file: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels and opacity of 8 bits or fewer, spread from 0 to 255."""
    if file.mode in _TRANSPARENT or "transparency" in file.info:
        grey = file.mode in ("1", "L", "LA", "La")
        held = np.asarray(file.convert("RGBA"))
        return held[..., :1] if grey else held[..., :3], held[..., 3:]
    return np.atleast_3d(np.asarray(file.convert("L" if file.mode in _GREY else "RGB"))), None


def _deep(file: Image.Image, path: File) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels and opacity of 16 bits."""
    if file.mode.startswith("I"):
        values = np.atleast_3d(np.asarray(file)).astype(np.int32)
    elif file.getbands() == ("R", "G", "B", "A") and _raw_mode(file) == "LA;16B":
        high_low = _unpacked(path, "RGBA").astype(np.int32)  # the bytes of grey and of opacity, as they lie
        values = high_low[..., ::2] * 256 + high_low[..., 1::2]
    else:
        # Pillow keeps one byte of each value. It takes big-endian values for little-endian ones where it is told so,
        # and then keeps the other byte.
        file.load()
        low = _unpacked(path, f"{file.mode};16L")
        values = np.asarray(file).astype(np.int32) * 256 + low
    if values.shape[2] in (2, 4):
        return values[..., :-1], values[..., -1:]
    if "transparency" in file.info:  # one colour that stands for no colour
        hidden = (values == np.asarray(file.info["transparency"])).all(-1, keepdims=True)
        return values, np.where(hidden, 0, BITS_16)
    return values, None


def _raw_mode(file: Image.Image) -> Any:
    """How Pillow is going to unpack the values of a file that it has not decoded."""
    return getattr(file, "tile", [(None,) * 4])[0][3]


def _unpacked(path: File, raw_mode: str) -> np.ndarray:
    """The channels of a PNG, its values unpacked in another way than its header says."""
    with path.open("rb") as stream, Image.open(stream) as file:
        held: Any = file
        # Named tuples of this Pillow, plain ones of earlier versions.
        held.tile = [
            tile._replace(args=raw_mode) if hasattr(tile, "_replace") else (*tile[:3], raw_mode)
            for tile in held.tile
        ]
        return np.asarray(file)
