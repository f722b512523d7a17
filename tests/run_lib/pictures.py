"""Image files of every kind, for tests that read folders of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def random_pixels(seed: int, height: int = 8, width: int = 8, channels: int = 1) -> np.ndarray:
    """(H, W) or (H, W, 3), uint8."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """Write pixels in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def truncated(path: Path, pixels: np.ndarray) -> Path:
    """An image whose header is whole and whose end is missing."""
    save(path, pixels)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    return path
