"""Places that hold image files: a folder, or a zip archive."""

from __future__ import annotations

import abc
import functools
import io
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from run_lib.data.forms import File, UnreadableError

MOST_GROWTH = 100
"""A member of an archive may take so many times the bytes that it has there. Images rarely shrink to a tenth."""
ALWAYS = 2**24
"""Bytes that any member may take."""


class Place(abc.ABC):
    """Holds files by name. It is plain data: other processes open the files by a copy."""

    @abc.abstractmethod
    def file(self, name: str) -> File:
        """One of them.

        Raises:
            UnreadableError: it cannot be had whole.
        """

    @abc.abstractmethod
    def where(self, name: str) -> str:
        """Where a file is, for messages."""


@dataclass(frozen=True)
class Folder(Place):
    """A folder, and all folders below."""

    path: Path

    def file(self, name: str) -> File:
        return self.path / name

    def where(self, name: str) -> str:
        return str(self.path / name)


@dataclass(frozen=True)
class Archive(Place):
    """A zip archive."""

    path: Path

    def file(self, name: str) -> File:
        # What zipfile and zlib raise of altered bytes has no common base.
        try:
            opened = _opened(self.path, self.path.stat().st_mtime_ns, os.getpid())
            member = opened.getinfo(name)
            if member.file_size > max(ALWAYS, MOST_GROWTH * member.compress_size):
                raise UnreadableError(
                    f"it has {member.compress_size} bytes and would take {member.file_size}, more than {MOST_GROWTH} "
                    f"times as many, which are not read"
                )
            return InArchive(opened.read(member))
        except (
            zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, KeyError, OSError
        ) as error:  # fmt: skip
            raise UnreadableError(f"{type(error).__name__}: {error}") from error

    def where(self, name: str) -> str:
        return f"{self.path}:{name}"


@functools.lru_cache(maxsize=8)
def _opened(path: Path, changed: int, process: int) -> zipfile.ZipFile:
    """An archive that a process has opened since it was changed; processes that share one would move its place."""
    return zipfile.ZipFile(path)


@dataclass(frozen=True)
class InArchive:
    """The bytes of a member."""

    content: bytes

    def open(self, mode: str) -> IO[bytes]:
        """The bytes as a stream."""
        return io.BytesIO(self.content)
