"""The idx files of MNIST and its kin, plain or compressed by gzip."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from run_lib.data.split import Arrays, MissingSplitError

PREFIX = {"train": "train", "test": "t10k"}
TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
"""The third byte of a file says what its numbers are."""
MOST_GROWTH = 1032
"""Bytes that gzip can make of one."""


def read_idx_split(folder: Path, split: str, classes: tuple[str, ...] = (), hint: str = "") -> Arrays:
    """A split of the four files ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-...``, or ``.gz``.

    Args:
        folder: that holds them.
        split: "train" or "test".
        classes: names of the classes.
        hint: a sentence that ends the message about missing files.

    Raises:
        MissingSplitError: there are the files of training, and not these.
        ValueError: files are missing or damaged, or do not belong together.
    """
    images = read_idx(_find(folder, f"{PREFIX[split]}-images-idx3-ubyte", hint))
    labels = read_idx(_find(folder, f"{PREFIX[split]}-labels-idx1-ubyte", hint))
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{folder}/{PREFIX[split]}-... hold images {images.shape} and labels {labels.shape}; expected (N, H, W) "
            f"and (N,)."
        )
    return Arrays(torch.from_numpy(images[:, None]), torch.from_numpy(labels.astype(np.int64)), classes)


def _find(folder: Path, name: str, hint: str) -> Path:
    for candidate in (name, f"{name}.gz", name.replace("-idx", ".idx"), f"{name.replace('-idx', '.idx')}.gz"):
        if (folder / candidate).is_file():
            return folder / candidate
    message = f"there is no {folder / name}, and no {name}.gz.{hint}"
    trained = any(folder.glob("train-images*"))
    raise MissingSplitError(message) if trained and name.startswith("t10k") else ValueError(message)


def read_idx(path: Path) -> np.ndarray:
    """The array of an idx file: two zero bytes, the type, the number of axes, their lengths, and the numbers.

    Raises:
        ValueError: it is damaged, or of another format.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            head = stream.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES:
                raise ValueError(
                    f"{path} is no idx file, which begins with two zeros and a type: fetch it again."
                )
            lengths = stream.read(4 * head[3])
            if len(lengths) != 4 * head[3]:
                raise ValueError(f"{path} is damaged: it ends within its header. Fetch it again.")
            shape, kind = struct.unpack(f">{head[3]}I", lengths), np.dtype(TYPES[head[2]])
            declared = math.prod(shape) * kind.itemsize
            if declared > MOST_GROWTH * path.stat().st_size:
                raise ValueError(
                    f"{path} is damaged: it declares {declared} bytes, shape {shape}. Fetch it again."
                )
            content = stream.read(declared + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error}): fetch it again.") from error
    if len(content) != declared:
        raise ValueError(
            f"{path} is damaged: it declares {declared} bytes, shape {shape}, and holds "
            f"{'more' if len(content) > declared else len(content)}."
        )
    return np.frombuffer(content, kind).reshape(shape).astype(kind.newbyteorder("="))
