"""An array of an ``.npz`` that stays there: it is read as it is needed, and only what is asked for is in memory."""

from __future__ import annotations

import contextlib
import functools
import math
import weakref
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from run_lib.data.forms import UnreadableError
from run_lib.data.packed import Header, PackedError, read_arrays, read_header
from run_lib.data.rows import Indices, InMemory, Rows, as_tensor


@dataclass(frozen=True)
class Streamed(Rows):
    """An array (N, ...) of an ``.npz``. Rows in their order are unpacked once; to go back is to begin again.

    Attributes:
        path: of the archive.
        name: of the array.
    """

    path: Path
    name: str

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "name": self.name}  # another process opens the archive itself

    @functools.cached_property
    def _stream(self) -> IO[bytes]:
        with contextlib.ExitStack() as stack:
            archive = stack.enter_context(zipfile.ZipFile(self.path))
            stream = stack.enter_context(archive.open(f"{self.name}.npy"))
            weakref.finalize(self, stack.pop_all().close)
            return stream

    @functools.cached_property
    def header(self) -> Header:
        """Of the array.

        Raises:
            PackedError: it is damaged.
        """
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.name}.npy") as stream:
            return read_header(stream, archive.getinfo(f"{self.name}.npy").file_size)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.header.shape[1:]

    @property
    def dtype(self) -> torch.dtype:
        return as_tensor(np.zeros(0, self.header.dtype)).dtype

    @property
    def costly(self) -> bool:
        return False  # processes that take turns would each unpack all of it

    def __len__(self) -> int:
        return self.header.shape[0]

    def read(self, indices: Indices) -> Tensor:
        wanted = np.asarray(indices, dtype=np.int64)
        places, back = np.unique(wanted, return_inverse=True)
        found = np.empty((len(places), *self.shape), self.header.dtype)
        size = math.prod(self.shape) * self.header.dtype.itemsize
        try:
            for row, place in enumerate(places.tolist()):
                self._stream.seek(self.header.start + place * size)
                found[row] = np.frombuffer(self._stream.read(size), self.header.dtype).reshape(self.shape)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
            raise UnreadableError(f"{self.path}: {self.name} is damaged.") from error
        return as_tensor(found[back])


def open_array(path: Path, name: str) -> Rows:
    """An array of an ``.npz``, as its rows.

    Raises:
        PackedError: it is damaged, or holds no numbers.
        OSError: it cannot be read.
    """
    found = Streamed(path, name)
    try:
        header = found.header
    except (
        zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, KeyError, zlib.error
    ) as error:  # fmt: skip
        raise PackedError("is damaged, encrypted, or no archive of arrays") from error
    if not header.shape or header.dtype.kind not in "biuf":
        raise PackedError(
            f"has {name} of {header.dtype} and shape {header.shape}, where images are numbers (N, ...)"
        )
    if header.by_columns:  # no image of it lies in one piece
        return InMemory(as_tensor(read_arrays(path, (name,))[name]))
    return found
