"""Small files of every form of image in docs/images.md, and the pixels that each is."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.run_lib.pictures import random_pixels, save, save_png

GREY, COLOUR = random_pixels(0, 4, 8), random_pixels(1, 4, 8, 3)
DEEP = np.random.default_rng(2).integers(0, 2**16, (4, 8, 4))
OPACITY = random_pixels(3, 4, 8)
Writer = Callable[[Path], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Form:
    """Files of one form, for data of a shape and a number of levels.

    Attributes:
        write: makes the files in a folder and gives the pixels (H, W, C) that each is, or is converted to, by name.
        channels, levels: of the data.
    """

    write: Writer
    channels: int = 3
    levels: int = 256


def as_colour(grey: np.ndarray) -> np.ndarray:
    return np.stack([grey] * 3, -1)


def every_colour(folder: Path) -> dict[str, np.ndarray]:
    """JPEG is lossy: one colour all over, whose values it keeps to one level."""
    plain = np.full((4, 8, 3), 128, np.uint8)
    save(folder / "a.jpg", plain)
    save(folder / "b.webp", COLOUR, lossless=True)
    names = [f"c.{ending}" for ending in ("png", "bmp", "tif", "ppm", "PNG")]
    for name in names:
        save(folder / name, COLOUR)
    return {"a.jpg": plain, "b.webp": COLOUR, **dict.fromkeys(names, COLOUR)}


def one(name: str, pixels: np.ndarray, wanted: np.ndarray) -> Writer:
    def write(folder: Path) -> dict[str, np.ndarray]:
        save(folder / name, pixels)
        return {name: wanted}

    return write


def luma(folder: Path) -> dict[str, np.ndarray]:
    save(folder / "a.png", COLOUR)
    return {"a.png": np.asarray(Image.fromarray(COLOUR).convert("L"))[..., None]}


def one_bit(folder: Path) -> dict[str, np.ndarray]:
    Image.fromarray(GREY > 99).save(folder / "a.png")
    return {"a.png": as_colour((GREY > 99) * 255)}


def few_bits(folder: Path) -> dict[str, np.ndarray]:
    found = {}
    for bits in (2, 4):
        levels = GREY >> (8 - bits)
        save_png(folder / f"{bits}.png", levels[..., None], bits)
        found[f"{bits}.png"] = as_colour(levels * (255 // (2**bits - 1)))
    return found


def palette(folder: Path, transparent: bytes | None = None) -> dict[str, np.ndarray]:
    image = Image.fromarray(GREY % 4, mode="P")
    colours = np.array([[0, 0, 0], [200, 10, 30], [7, 99, 255], [255, 255, 255]], np.uint8)
    image.putpalette(colours.tobytes())
    options: dict[str, Any] = {} if transparent is None else {"transparency": transparent}
    image.save(folder / "palette.png", **options)
    return {"palette.png": colours[GREY % 4]}


def transparent(opacity: np.ndarray, key: int) -> Writer:
    """Of RGBA, LA, a palette with an opacity for each colour, and grey of which one level is transparent."""

    def write(folder: Path) -> dict[str, np.ndarray]:
        Image.fromarray(np.dstack([COLOUR, opacity])).save(folder / "rgba.png")
        Image.fromarray(np.dstack([GREY, opacity])).save(folder / "la.png")
        each = np.array([opacity[0, 0], 255, 255, opacity[0, 1]], np.uint8)
        colours = palette(folder, each.tobytes())["palette.png"]
        Image.fromarray(GREY).save(folder / "key.png", transparency=key)
        same_colour = as_colour(GREY)
        Image.fromarray(same_colour).save(folder / "colour.png", transparency=(key, key, key))
        return {
            "rgba.png": over_white(COLOUR, opacity, 255),
            "la.png": over_white(as_colour(GREY), opacity, 255),
            "palette.png": over_white(colours, each[GREY % 4], 255),
            "key.png": over_white(same_colour, np.where(key == GREY, 0, 255), 255),
            "colour.png": over_white(same_colour, np.where(key == GREY, 0, 255), 255),
        }

    return write


def over_white(pixels: np.ndarray, opacity: np.ndarray, white: int) -> np.ndarray:
    share = opacity[..., None] / white
    return np.rint(pixels * share + white * (1 - share))


def cmyk(folder: Path) -> dict[str, np.ndarray]:
    """Without black ink, red is what cyan leaves of white."""
    inks = np.dstack([COLOUR, np.zeros_like(GREY)])
    Image.fromarray(inks, mode="CMYK").save(folder / "a.tif")
    return {"a.tif": 255 - COLOUR}


TURNED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud, 5: lambda x: np.rot90(np.fliplr(x)),
    6: lambda x: np.rot90(x, -1), 7: lambda x: np.rot90(np.fliplr(x), -1), 8: np.rot90,
}  # fmt: skip
"""By EXIF 2.3's table: 6 means that the first row is the right side, so that a turn clockwise makes it upright."""


def orientations(folder: Path) -> dict[str, np.ndarray]:
    """Stored so that all are upright as 4x8."""
    found, exif = {}, Image.Exif()
    for number, turn in TURNED.items():
        upright = random_pixels(number, 4, 8, 3)
        stored = next(s for s in (upright, upright.swapaxes(0, 1)) if turn(s).shape == upright.shape)
        exif[0x0112] = number
        for ending in ("png", "tif", "webp"):
            options = {"lossless": True} if ending == "webp" else {}
            save(folder / f"{number}.{ending}", np.ascontiguousarray(stored), exif=exif, **options)
            found[f"{number}.{ending}"] = turn(stored)
    flat = np.full((8, 4, 3), 77, np.uint8)
    save(folder / "flat.jpg", flat, exif=exif)
    return {**found, "flat.jpg": flat.swapaxes(0, 1)}


def damaged_exif(folder: Path) -> dict[str, np.ndarray]:
    """Descriptions that lie behind the end: before an orientation that is there, and where it has been cut off."""
    found = {}
    for name, turned in (("turned", True), ("cut", False)):
        description = struct.pack("<HHII", 0x010E, 2, 100, 5000)
        orientation = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
        exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + description + orientation * turned
        upright = np.full((4, 8, 3), 90, np.uint8)
        for ending in ("png", "webp", "jpg"):
            shown = upright if ending == "jpg" else COLOUR
            stored = np.rot90(shown, 1) if turned else shown
            options = {"lossless": True} if ending == "webp" else {}
            save(folder / f"{name}.{ending}", np.ascontiguousarray(stored), exif=exif, **options)
            found[f"{name}.{ending}"] = shown
    return found


def animations(folder: Path) -> dict[str, np.ndarray]:
    frames = [Image.fromarray(np.full((4, 8, 3), value, np.uint8)) for value in (0, 255, 128)]
    kinds = {"a.gif": "GIF", "a.apng": "PNG", "a.webp": "WEBP", "a.tif": "TIFF"}
    for name, kind in kinds.items():
        lossless = {"lossless": True} if kind == "WEBP" else {}
        frames[0].save(folder / name, format=kind, save_all=True, append_images=frames[1:], **lossless)
    return dict.fromkeys(kinds, np.zeros((4, 8, 3)))


def of_a_camera(folder: Path) -> dict[str, np.ndarray]:
    frames = [Image.fromarray(np.full((4, 8, 3), value, np.uint8)) for value in (128, 255)]
    frames[0].save(folder / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    return {"a.jpg": np.full((4, 8, 3), 128)}


def deep(folder: Path) -> dict[str, np.ndarray]:
    save_png(folder / "colour.png", DEEP[..., :3])
    save_png(folder / "grey.png", DEEP[..., :1])
    opaque = np.full((4, 8, 1), 65535)
    save_png(folder / "la.png", np.dstack([DEEP[..., :1], opaque]))
    save_png(folder / "rgba.png", np.dstack([DEEP[..., :3], opaque]))
    save(folder / "grey.tif", DEEP[..., 0].astype(np.uint16))
    (folder / "grey.pgm").write_bytes(b"P5 8 4 65535\n" + DEEP[..., 0].astype(">u2").tobytes())
    grey, colour = as_colour(DEEP[..., 0]), DEEP[..., :3]
    return {**dict.fromkeys(("colour.png", "rgba.png"), colour),
            **dict.fromkeys(("grey.png", "la.png", "grey.tif", "grey.pgm"), grey)}  # fmt: skip


def nearest(folder: Path) -> dict[str, np.ndarray]:
    return {name: np.rint(values / 257) for name, values in deep(folder).items()}


def deep_and_transparent(folder: Path) -> dict[str, np.ndarray]:
    save_png(folder / "rgba.png", DEEP)
    save_png(folder / "la.png", DEEP[..., 1:3])
    grey, colour = DEEP[..., :1], DEEP[..., :3]
    save_png(folder / "key.png", grey, hidden=grey[1, 2].astype(">u2").tobytes())
    save_png(folder / "colour.png", colour, hidden=colour[2, 3].astype(">u2").tobytes())
    return {
        "key.png": over_white(as_colour(grey[..., 0]), np.where(grey[..., 0] == grey[1, 2], 0, 65535), 65535),
        "colour.png": over_white(colour, np.where((colour == colour[2, 3]).all(-1), 0, 65535), 65535),
        "rgba.png": over_white(DEEP[..., :3], DEEP[..., 3], 65535),
        "la.png": over_white(as_colour(DEEP[..., 1]), DEEP[..., 2], 65535),
    }


def deep_colour(folder: Path) -> dict[str, np.ndarray]:
    """Pillow writes none: a TIFF of one strip, by the format's specification; and a PPM."""
    values = DEEP[..., :3].astype("<u2").tobytes()
    entries = [(256, 3, 1, 8), (257, 3, 1, 4), (258, 3, 3, 146), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 152),
               (277, 3, 1, 3), (278, 3, 1, 4), (279, 4, 1, len(values)), (284, 3, 1, 1), (339, 3, 1, 1)]  # fmt: skip
    ifd = b"".join(tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + count.to_bytes(4, "little")
                   + value.to_bytes(4, "little") for tag, kind, count, value in entries)  # fmt: skip
    head = b"II*\0" + (8).to_bytes(4, "little") + len(entries).to_bytes(2, "little") + ifd + bytes(4)
    assert len(head) == 146
    (folder / "a.tif").write_bytes(head + (16).to_bytes(2, "little") * 3 + values)
    (folder / "a.ppm").write_bytes(b"P6 8 4 65535\n" + DEEP[..., :3].astype(">u2").tobytes())
    return {"a.tif": COLOUR, "a.ppm": COLOUR}


def no_intensities(folder: Path) -> dict[str, np.ndarray]:
    save(folder / "f.tif", GREY.astype(np.float32))
    save(folder / "i.tif", GREY.astype(np.int32))
    return {"f.tif": COLOUR, "i.tif": COLOUR}


def damaged(folder: Path) -> dict[str, np.ndarray]:
    save(folder / "good.png", COLOUR)
    whole = save(folder / "cut.png", random_pixels(0, 4, 8, 3)).read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "empty.jpg").touch()
    (folder / "text.png").write_text("no image")
    return {"good.png": COLOUR}


def too_large(folder: Path) -> dict[str, np.ndarray]:
    """More than the limit of this test."""
    save(folder / "large.png", random_pixels(0, 60, 60, 3))
    save(folder / "good.png", COLOUR)
    return {"good.png": COLOUR}


def misnamed(folder: Path) -> dict[str, np.ndarray]:
    Image.fromarray(COLOUR).save(folder / "a.jpg", format="PNG")
    return {"a.jpg": COLOUR}


def beside(*others: str) -> Writer:
    """Files that are left out, beside one that is read."""

    def write(folder: Path) -> dict[str, np.ndarray]:
        save(folder / "a.png", COLOUR)
        for other in others:
            (folder / other).parent.mkdir(exist_ok=True)
            (folder / other).write_text("what would be an error if it were read")
        return {"a.png": COLOUR}

    return write


def links(folder: Path) -> dict[str, np.ndarray]:
    elsewhere = folder.parent / "elsewhere"
    save(elsewhere / "a.png", COLOUR)
    (folder / "b.png").symlink_to(elsewhere / "a.png")
    (folder / "c").symlink_to(elsewhere)
    return {"b.png": COLOUR, "c/a.png": COLOUR}


def broken_links(folder: Path) -> dict[str, np.ndarray]:
    save(folder / "a.png", COLOUR)
    (folder / "b.png").symlink_to(folder.parent / "nowhere.png")
    (folder / "c").symlink_to(folder)
    return {"a.png": COLOUR}


UNUSED = next(level for level in range(256) if level not in GREY)
FORMS: dict[str, Form] = {
    "8 bits in colour: PNG, JPEG, WebP, BMP, TIFF, PPM": Form(every_colour),
    "grey, for data in colour": Form(one("a.png", GREY, as_colour(GREY))),
    "colour whose channels are equal, for grey data": Form(one("a.png", as_colour(GREY), GREY[..., None]), 1),
    "colour, for grey data": Form(luma, 1),
    "black and white of 1 bit": Form(one_bit),
    "grey of 2 or 4 bits": Form(few_bits),
    "palette": Form(palette),
    "transparency that is opaque everywhere: RGBA, LA, palette, a transparent colour": Form(
        transparent(np.full((4, 8), 255, np.uint8), UNUSED)
    ),
    "transparency: RGBA, LA, palette, a transparent colour": Form(transparent(OPACITY, int(GREY[0, 0]))),
    "CMYK": Form(cmyk),
    "EXIF orientation: PNG, JPEG, WebP, TIFF": Form(orientations),
    "EXIF data that are damaged: PNG, JPEG, WebP": Form(damaged_exif),
    "animation or pages: GIF, APNG, WebP, TIFF": Form(animations),
    "a camera's JPEG with further pictures (MPO)": Form(of_a_camera),
    "16 bits, for `data.levels=65536`: PNG in grey and in colour, TIFF and PGM in grey": Form(
        deep, levels=65536
    ),
    "16 bits, for `data.levels=256`": Form(nearest),
    "16 bits with transparency": Form(deep_and_transparent, levels=65536),
    "8 bits, for `data.levels=65536`": Form(one("a.png", COLOUR, COLOUR.astype(int) * 257), levels=65536),
    "16 bits in colour: TIFF, PPM": Form(deep_colour, levels=65536),
    "floating-point numbers or 32-bit integers: TIFF": Form(no_intensities),
    "another size": Form(one("a.png", np.full((8, 16, 3), 9, np.uint8), np.full((4, 8, 3), 9))),
    "damaged, empty, truncated, or no image": Form(damaged),
    "more pixels than Pillow thinks safe": Form(too_large),
    "one format under the ending of another": Form(misnamed),
    "hidden files and folders": Form(beside(".hidden.png", ".git/b.png")),
    "other endings": Form(beside("a.txt", "a.avif", "a")),
    "links to files and to folders": Form(links),
    "links that lead nowhere, or back to a folder above": Form(broken_links),
}
