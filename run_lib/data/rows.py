"""Rows that can be read by their index, wherever they lie; in memory, in one mapped file, in files of images."""

from __future__ import annotations

import abc
import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from run_lib.data.forms import RefusedError, UnreadableError, opened
from run_lib.data.images import CONVERSION, ImageReader
from run_lib.data.packed import read_array
from run_lib.data.places import Place
from run_lib.data.read_ahead import announce_rows
from run_lib.output.progress import Progress

Indices: TypeAlias = Sequence[int] | np.ndarray | Tensor
SHOWN = 20
"""Image files that cannot be read, after which no more of those asked for are looked at."""
CHUNK = 2**24
"""Bytes that are read at a time, where all rows are gone through."""


class Rows(abc.ABC):
    """Samples that can be read by their index. An implementation is plain data: other processes read by a copy."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""

    @property
    @abc.abstractmethod
    def dtype(self) -> torch.dtype:
        """Of what is read: integers are levels."""

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def read(self, indices: Indices) -> Tensor:
        """The samples of the given indices, (B, ...).

        Raises:
            UnreadableError: some cannot be read; the message names them.
        """

    @property
    def whole(self) -> Tensor | None:
        """All of them, (N, ...), where they are in memory."""
        return None

    @property
    def stored(self) -> tuple[int, int] | None:
        """Height and width of the first as its file has it, where it may be another than is read; None: it is not, or
        cannot be told."""
        return None

    @property
    def bytes(self) -> int:
        """That all of them take in memory."""
        return len(self) * math.prod(self.shape) * self.dtype.itemsize

    @property
    def costly(self) -> bool:
        """Whether reading is so much work that other processes should do it: decoding, and whatever users do."""
        return True

    def pieces(self) -> list[range]:
        """All indices in their order, some at a time: as many as are read at once."""
        size = max(1, CHUNK * len(self) // max(1, self.bytes))
        return [range(first, min(first + size, len(self))) for first in range(0, len(self), size)]

    def chunks(self) -> Iterator[tuple[range, Tensor]]:
        """All of them in their order, some at a time, and which they are."""
        with Progress("reading", len(self), "sample", shown=self.whole is None) as bar:
            for some in self.pieces():
                yield some, self.read(some)
                bar.add(len(some))


@dataclass(frozen=True)
class InMemory(Rows):
    """A tensor (N, ...)."""

    images: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.images.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        return self.images.dtype

    @property
    def whole(self) -> Tensor:
        return self.images

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: Indices) -> Tensor:
        if isinstance(indices, range):  # without a copy
            return self.images[indices.start : indices.stop : indices.step]
        return self.images[torch.as_tensor(indices, device=self.images.device)]


@dataclass(frozen=True)
class Mapped(Rows):
    """An ``.npy`` that stays on disk, of integer levels or of floats.

    Raises:
        PackedError: it is damaged, or holds no numbers.
    """

    path: Path

    @functools.cached_property
    def array(self) -> np.ndarray:
        """(N, ...), mapped."""
        return read_array(self.path, mapped=True)

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}  # another process maps the file itself

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape[1:]

    @property
    def dtype(self) -> torch.dtype:
        return as_tensor(self.array[:0]).dtype

    @property
    def costly(self) -> bool:
        return False

    def __len__(self) -> int:
        return len(self.array)

    def read(self, indices: Indices) -> Tensor:
        wanted = np.asarray(indices, dtype=np.int64)
        announce_rows(self.array, wanted)
        return as_tensor(self.array[wanted])


def as_tensor(array: np.ndarray) -> Tensor:
    """A copy as torch computes with it: unsigned integers of 16 and 32 bits, which it hardly knows, become wider."""
    wider = {"u2": np.int32, "u4": np.int64, "u8": np.int64}.get(array.dtype.str[1:])
    return torch.from_numpy(np.array(array, dtype=wider or array.dtype.newbyteorder("=")))


@dataclass(frozen=True)
class ImageFiles(Rows):
    """Image files, each by its own name; files of a folder, or members of an archive.

    Attributes:
        names: of the files.
        place: opens one of them, given its name.
        reader: reads each.
        option: the setting that converts what is not exactly the data's, for messages.
        hint: a sentence that ends the message about images that cannot be read.
    """

    names: Sequence[str]
    place: Place
    reader: ImageReader
    option: str = "config.data.convert"
    hint: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.reader.shape

    @property
    def dtype(self) -> torch.dtype:
        return torch.uint8 if self.reader.white == 255 else torch.int32

    @property
    def stored(self) -> tuple[int, int] | None:
        with contextlib.suppress(UnreadableError), opened(self.place.file(self.names[0])) as file:
            return file.height, file.width
        return None

    def __len__(self) -> int:
        return len(self.names)

    def read(self, indices: Indices) -> Tensor:
        pixels, refused, damaged = [], [], []
        for index in np.asarray(indices).tolist():
            name = self.names[index]
            try:
                pixels.append(self.reader.read(self.place.file(name)))
            except RefusedError as error:
                refused.append(f"{self.place.where(name)} {error}")
            except UnreadableError as error:
                damaged.append(f"{self.place.where(name)} cannot be read: {error}")
            if len(refused) + len(damaged) == SHOWN:
                break
        if refused or damaged:
            advice = (
                f" --{self.option} {CONVERSION}; or take such files out."
                if refused
                else " Take such files out."
            )
            raise UnreadableError(f"{'; '.join(damaged + refused)}.{advice}{self.hint}")
        return torch.from_numpy(np.stack(pixels))


class OfOthers(Rows):
    """Rows that are other rows, ``rows``, in another way."""

    rows: Rows

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape

    @property
    def dtype(self) -> torch.dtype:
        return self.rows.dtype

    @property
    def costly(self) -> bool:
        return self.rows.costly

    @property
    def stored(self) -> tuple[int, int] | None:
        return self.rows.stored


@dataclass(frozen=True)
class Picked(OfOthers):
    """Some of other rows.

    Attributes:
        rows: of which they are taken.
        indices: theirs among all (B,).
    """

    rows: Rows
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, indices: Indices) -> Tensor:
        return self.rows.read(self.indices[np.asarray(indices, dtype=np.int64)])


@dataclass(frozen=True)
class Checked(OfOthers):
    """Rows whose values are looked at as they are read."""

    rows: Rows
    check: Callable[[Tensor], None]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: Indices) -> Tensor:
        found = self.rows.read(indices)
        self.check(found)
        return found
