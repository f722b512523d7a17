"""Image files of every kind, for tests that read folders of them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def random_pixels(seed: int, height: int = 8, width: int = 8, channels: int = 1) -> np.ndarray:
    """(H, W) or (H, W, 3), uint8."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
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


PNG_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's number for grey, grey and opacity, colour, colour and opacity, by the number of channels."""


def save_png(path: Path, values: np.ndarray, bits: int = 16, hidden: bytes = b"") -> Path:
    """Write a PNG of (H, W, C), 1 to 4 channels, by the format's specification: Pillow writes 8 bits.

    Args:
        path: of the file.
        values: of the channels.
        bits: of a channel, 2, 4 or 16.
        hidden: the colour that stands for no colour, 16 bits a channel; empty: there is none.
    """
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, bits, PNG_COLOURS[channels], 0, 0, 0)
    rows = b"".join(b"\0" + _packed(row.flatten(), bits) for row in values)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + (_chunk(b"tRNS", hidden) if hidden else b"")
        + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )
    return path


def _packed(row: np.ndarray, bits: int) -> bytes:
    if bits == 16:
        return row.astype(">u2").tobytes()
    places = row.reshape(-1, 8 // bits).astype(int) << np.arange(8 - bits, -1, -bits)
    return places.sum(1).astype(np.uint8).tobytes()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
