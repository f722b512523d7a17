"""Odd ``.npz`` archives and ``.npy`` arrays: objects, absurd shapes, other types, entries that lack."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.canary import malicious

TYPES = (
    "u1", "f4", "f8", "i8", "?", "c8", "U3", "S2", "M8[s]", "f2", ">u2", [("a", "u1")], "V3",
)  # fmt: skip
SHAPES = (
    "(3, 1, 8, 8)", "(10**12, 1, 8, 8)", "(99999999999999, 8)", "(-1, 8)", "(2**62, 4)", "()", "(3,)",
    "'a'", "(3, 1, 8, 8.5)", "(True, 8)", "__import__('os')", "(" * 300, "(0, 1, 8, 8)", "(3, 0, 8, 8)",
)  # fmt: skip
DESCRIPTIONS = (
    "|u1", "<f4", "|O", "<f8", "|V99999999", "x", "<U1000000", [("a", "|O")],
)  # fmt: skip


def store(archive: zipfile.ZipFile, name: str, content: bytes | str) -> None:
    """Add a part to an archive, as of no particular time."""
    part = zipfile.ZipInfo(name)
    part.compress_type = archive.compression
    archive.writestr(part, content)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def described(shape: str, kind: Any, order: str, content: bytes) -> bytes:
    """An array's file with a header of one's own."""
    header = f"{{'descr': {kind!r}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


def drawn(draw: random.Random) -> bytes:
    """The file of one odd array."""
    which, random_numbers = draw.randrange(5), np.random.default_rng(draw.randrange(2**16))
    if which == 0:
        return described(
            draw.choice(SHAPES), draw.choice(DESCRIPTIONS), draw.choice(("False", "True", "3")), bytes(192)
        )
    if which == 1:
        return described("(1,)", "|O", "False", malicious(draw.randrange(5)))
    if which == 2:
        return npy(np.zeros((3, 1, 8, 8), np.dtype(draw.choice(TYPES))))
    if which == 3:
        shape = draw.choice(
            ((3, 1, 8, 8), (3, 8, 8, 1), (3, 8, 8), (0, 1, 8, 8), (1, 3, 8, 8), (3, 2), (), (3, 1, 9, 8))
        )
        values = random_numbers.integers(0, draw.choice((17, 256)), shape)
        array = np.asarray(values).astype(draw.choice(("u1", "f4", "i8")))
        return npy(np.asfortranarray(array) if draw.random() < 0.2 else array)
    array = random_numbers.normal(size=(3, 1, 8, 8))
    array.flat[draw.randrange(array.size)] = draw.choice((np.nan, np.inf, 1e300, -3))
    return npy(array)


def good(draw: random.Random) -> bytes:
    return npy(np.random.default_rng(draw.randrange(99)).integers(0, 17, (3, 1, 8, 8)).astype(np.uint8))


def _npz(path: Path, draw: random.Random, whole: Path) -> None:
    names = draw.choice(
        (("arr_0",), ("arr_0", "arr_1"), ("x",), ("arr_0", "arr_0"), ("../../outside/ran", "arr_0"), ())
    )
    with zipfile.ZipFile(path, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name in dict.fromkeys(names):
            store(archive, f"{name}.npy", drawn(draw) if draw.random() < 0.7 else good(draw))


def _labelled(path: Path, draw: random.Random, whole: Path) -> None:
    """Good images with odd classes."""
    odd = (
        [-1, 0, 99],
        [[0], [0], [0]],
        ["a", "b", "c"],
        [0.5, 1, 2],
        [2**62] * 3,
        [np.nan] * 3,
        [0, 1],
        [0, 1, 2],
    )
    labels = np.array(draw.choice(odd))
    with zipfile.ZipFile(path, "w") as archive:
        store(archive, "arr_0.npy", good(draw))
        store(archive, "arr_1.npy", npy(labels))


def _bomb(path: Path, draw: random.Random, whole: Path) -> None:
    shape = draw.choice(("(1048576, 1, 8, 8)", "(3, 1, 8, 8)", "(50000000,)"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        store(archive, "arr_0.npy", described(shape, "|u1", "False", bytes(2**26)))


def _damaged(path: Path, draw: random.Random, whole: Path) -> None:
    _labelled(path, draw, whole)
    data = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 1, 20))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data[: draw.randrange(len(data))] if draw.random() < 0.3 else data)


ARRAYS = {"npz": _npz, "npz again": _npz, "labelled": _labelled, "bomb": _bomb, "damaged": _damaged}


def _npy(path: Path, draw: random.Random, whole: Path) -> None:
    path.write_bytes(drawn(draw))


def _good(path: Path, draw: random.Random, whole: Path) -> None:
    path.write_bytes(
        npy(np.random.default_rng(draw.randrange(99)).integers(0, 256, (6, 1, 8, 8)).astype(np.uint8))
    )


ONE_ARRAY = {"npy": _npy, "npy again": _npy, "good": _good}
