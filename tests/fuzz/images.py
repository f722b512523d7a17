"""Odd image files: damaged, of other forms and sizes, with headers that promise too much; and folders of them."""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

MODES = ("L", "RGB", "1", "P", "RGBA", "LA", "CMYK", "I;16", "I", "F", "YCbCr", "LAB", "HSV")
FORMATS = ("PNG", "PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
ENDINGS = (".png", ".jpg", ".webp", ".bmp", ".tif", ".gif", ".ppm", ".pgm", ".PNG", ".txt", ".svg", "")
SIZES = ((8, 8), (8, 8), (8, 8), (9, 7), (1, 1), (64, 3), (200, 200))


def encoded(draw: random.Random) -> bytes:
    """A whole image of some form."""
    size, mode, kind = draw.choice(SIZES), draw.choice(MODES), draw.choice(FORMATS)
    pixels = np.random.default_rng(draw.randrange(2**16)).integers(0, 256, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(pixels)
    image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 200) if mode == "I;16" else _as(image, mode)
    options: dict[str, Any] = {}
    if kind in ("GIF", "PNG", "TIFF", "WEBP") and draw.random() < 0.2:
        options |= {"save_all": True, "append_images": [image, image]}
    if kind in ("JPEG", "PNG", "WEBP") and draw.random() < 0.2:
        exif = Image.Exif()
        exif[0x0112] = draw.choice((1, 3, 6, 8, 99))
        options["exif"] = exif
    if kind == "PNG" and draw.random() < 0.1:
        options["transparency"] = 0
    file = io.BytesIO()
    try:
        image.save(file, kind, **options)
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        SystemError,
        struct.error,
    ):  # this format has no such mode
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def _as(image: Image.Image, mode: str) -> Image.Image:
    try:
        return image.convert(mode)
    except ValueError:
        return image


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(draw: random.Random) -> bytes:
    """A PNG by hand: an absurd size, a text that unpacks to very much, pixels that lack, a wrong checksum."""
    width, height = draw.choice(
        ((8, 8), (100_000, 100_000), (0, 8), (2**31 - 1, 1), (13_000, 13_000), (8, 2**30))
    )
    depth, colour = draw.choice(((8, 0), (8, 2), (16, 0), (3, 9), (1, 3), (8, 6)))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, draw.choice((0, 0, 1, 9)))
    extra = draw.choice((
        b"", chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26))),
        chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**25))),
        chunk(b"eXIf", b"MM\0*" + bytes(9)), chunk(b"tRNS", b"\0"), chunk(b"acTL", struct.pack(">II", 2**31, 0)),
        chunk(b"PLTE", bytes(7)), b"\0\0\0\0abc",
    ))  # fmt: skip
    content = zlib.compress(bytes(draw.choice((72, 3, 2**24))))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", content) + chunk(b"IEND", b"")
    )


def drawn(draw: random.Random) -> bytes:
    """The content of one odd image file."""
    which = draw.randrange(6)
    if which == 0:
        return png(draw)
    data = bytearray(encoded(draw))
    if which == 1:
        del data[draw.randrange(len(data)) :]
    elif which == 2:
        for _ in range(draw.choice((1, 5, 50))):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def _image(path: Path, draw: random.Random, whole: Path) -> None:
    path.write_bytes(drawn(draw))


def _good(path: Path, draw: random.Random, whole: Path) -> None:
    pixels = np.random.default_rng(draw.randrange(99)).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(path, "PNG")


def write_folder(path: Path, draw: random.Random, whole: Path) -> None:
    """A folder of a few images, odd ones and good ones, of folders that look like images, links and pipes."""
    path.mkdir()
    for number in range(draw.randrange(1, 5)):
        name = draw.choice(("a", "b b", "é", "x" * 200, "-n", "a.b", ".hidden", "ab\ncd", "\udcff")) + str(
            number
        )
        below = path / draw.choice((".", ".", ".", "class", "cat"))
        below.mkdir(exist_ok=True)
        file = below / f"{name}{draw.choice(ENDINGS[:1] * 9 + ENDINGS)}"
        which = draw.randrange(12)
        if which < 4:
            _good(file, draw, whole)
        elif which < 9:
            _image(file, draw, whole)
        elif which == 9:
            file.mkdir(exist_ok=True)
        elif which == 10:
            file.symlink_to(
                draw.choice(("nothing", "..", file.name, "/dev/zero", "../../outside/theirs.txt"))
            )
        else:
            os.mkfifo(file)


IMAGES = {"image": _image, "image again": _image, "good": _good}
