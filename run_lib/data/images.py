"""Image files: those of a folder, read, cropped and resized to one shape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from run_lib.data.labels import NO_LABEL
from run_lib.data.levels import Arrays

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})


@dataclass(frozen=True)
class Fitting:
    """What may be done to image files of another kind than the data.

    Args:
        resize: the largest centred box of the data's proportions, resized by Pillow's bicubic filter; otherwise
            another size is refused.
        convert: grey to colour and back (ITU-R 601 luma), transparency dropped; otherwise refused.
    """

    resize: bool
    convert: bool


def read_images(
    folder: Path, split: str, shape: tuple[int, ...], *, crop: int | None = None, hint: str = ""
) -> Arrays:
    """A split of the data set in ``folder``, its images cropped to their centre and resized to ``shape``.

    Args:
        folder: holds ``<split>.npy`` or a folder ``<split>``.
        split: "train" or "test".
        shape: (C, H, W) with one (grey) or three (colour) channels.
        crop: side of the central square that is kept; as large as fits unless given.
        hint: what else to say where there are no files.

    Raises:
        ValueError: no images there, or an array of another kind.
    """
    packed = folder / f"{split}.npy"
    if packed.is_file():
        images = np.load(packed, mmap_mode="c")
        if images.dtype != np.uint8 or images.ndim != 4:
            raise ValueError(
                f"{packed} holds {images.dtype} of shape {images.shape}; expected uint8 (N, C, H, W)."
            )
        return Arrays(torch.from_numpy(images), torch.full((len(images),), NO_LABEL))
    files = sorted(p for p in (folder / split).rglob("*") if p.suffix.lower() in _SUFFIXES)
    if not files:
        raise ValueError(
            f"there are no images in {folder / split}/ and there is no {packed}. Put PNG or JPEG files "
            f"there, or point "
            f"--config.data.root elsewhere.{hint}"
        )
    names = [p.parent.name if p.parent != folder / split else "" for p in files]
    classes = {name: label for label, name in enumerate(sorted(set(names) - {""}))}
    images = np.stack([_read(p, shape, crop) for p in files])
    labels = [classes[name] if name else NO_LABEL for name in names]
    return Arrays(torch.from_numpy(images), torch.tensor(labels))


def _read(path: Path, shape: tuple[int, ...], crop: int | None) -> np.ndarray:
    channels, height, width = shape
    with Image.open(path) as file:
        image = fit(file.convert("L" if channels == 1 else "RGB"), height, width, crop)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def fit(image: Image.Image, height: int, width: int, crop: int | None = None) -> Image.Image:
    """The largest centred box of the wanted proportions, or the centred square of side ``crop``, resized."""
    scale = min(image.width / width, image.height / height)
    box_width, box_height = (crop, crop) if crop else (round(width * scale), round(height * scale))
    left, top = (image.width - box_width) // 2, (image.height - box_height) // 2
    # Cut before resizing: the filter would see beyond a box given to ``resize``.
    image = image.crop((left, top, left + box_width, top + box_height))
    return image.resize((width, height), Image.Resampling.BICUBIC)
