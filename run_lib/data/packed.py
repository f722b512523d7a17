"""Numpy's files, ``.npy`` and ``.npz``: what they declare is compared with what they hold before it is allocated."""

from __future__ import annotations

import math
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

MOST_GROWTH = 100
"""An archive's arrays may take so many times its own bytes. Images rarely shrink to a tenth."""
ALWAYS = 2**26
"""Bytes that any archive's arrays may take."""


class PackedError(ValueError):
    """A file of arrays that is not read, and why: a predicate that follows its name."""


def read_arrays(
    path: Path, names: Iterable[str] | None = None, optional: Iterable[str] = ()
) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz``.

    Args:
        path: of the archive.
        names: of the arrays; None: all of them.
        optional: further names, of arrays that may be missing.

    Raises:
        PackedError: it is damaged, lacks an array, holds objects, or declares more than it holds.
        OSError: it cannot be read.
    """
    _check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            held = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
            wanted = list(held) if names is None else [*names, *(name for name in optional if name in held)]
            if missing := [name for name in wanted if name not in held]:
                raise PackedError(f"has no array {missing[0]!r}")
            _check_growth(path.stat().st_size, [held[name] for name in wanted])
            return {name: _member(archive, held[name]) for name in wanted}
    # What zipfile and zlib raise of altered bytes has no common base.
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise PackedError("is damaged, encrypted, or no archive of arrays") from error


def array_names(path: Path) -> tuple[str, ...]:
    """Names of the arrays of an ``.npz``; of the arrays nothing is read.

    Raises:
        PackedError: it is no such archive.
        OSError: it cannot be read.
    """
    _check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(name.removesuffix(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise PackedError("is damaged, or no archive of arrays") from error


def read_array(path: Path, *, mapped: bool = False) -> np.ndarray:
    """The array of an ``.npy``.

    Args:
        path: of the file.
        mapped: leave it on disk, and read it as it is needed. It cannot be written to: a system that promises memory
            for writes to a private copy would refuse files that are larger than it has.

    Raises:
        PackedError: it is damaged, holds objects, or declares more than it holds.
        OSError: it cannot be read.
    """
    _check_file(path)
    with path.open("rb") as stream:
        read_header(stream, path.stat().st_size)
    found: np.ndarray = np.load(path, mmap_mode="r" if mapped else None)
    return found


def _check_file(path: Path) -> None:
    """Refuse a pipe, which would be waited for, and a device, which has no end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise PackedError("is no regular file")


def _check_growth(size: int, members: list[zipfile.ZipInfo]) -> None:
    declared = sum(member.file_size for member in members)
    if declared > max(ALWAYS, MOST_GROWTH * size):
        raise PackedError(
            f"is refused: it has {size} bytes and its arrays would take {declared}, more than {MOST_GROWTH} times as "
            f"many; where you trust it, write them uncompressed, with numpy.savez"
        )


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as stream:
        read_header(stream, member.file_size)
    with archive.open(member) as stream:
        found: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
    return found


@dataclass(frozen=True)
class Header:
    """What an array's file says of it before its values.

    Attributes:
        shape, dtype: of the array.
        by_columns: whether its first index runs fastest.
        start: bytes before the values.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool
    start: int


def read_header(stream: IO[bytes], size: int) -> Header:
    """The header of an ``.npy`` of ``size`` bytes.

    Raises:
        PackedError: the array does not fill its file, or its entries are no plain values.
    """
    formats = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, by_columns, dtype = formats[np.lib.format.read_magic(stream)](stream)
    except (
        ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError
    ) as error:  # fmt: skip
        raise PackedError("is no array that numpy writes of numbers") from error
    if dtype.hasobject:
        raise PackedError("holds Python objects, and arrays hold numbers")
    declared, holds = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if declared != holds or min(shape, default=0) < 0:
        raise PackedError(
            f"is damaged: its header declares {declared} bytes, shape {shape}, and it holds {holds}"
        )
    return Header(shape, dtype, by_columns, stream.tell())
