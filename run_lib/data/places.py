"""Places that hold image files: a folder, a zip archive, or an lmdb."""

from __future__ import annotations

import abc
import functools
import io
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

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
class Database(Place):
    """An lmdb, as LSUN comes: an image file under each key."""

    path: Path

    def names(self) -> tuple[str, ...]:
        """The keys, in their order; of the images nothing is read.

        Raises:
            ValueError: lmdb is not installed, or it is no such database.
        """
        with _opened_database(self.path) as database, database.begin() as transaction:
            return tuple(key.decode("latin-1") for key in transaction.cursor().iternext(values=False))

    def file(self, name: str) -> File:
        with _opened_database(self.path) as database, database.begin() as transaction:
            content = transaction.get(name.encode("latin-1"))
        if content is None:
            raise UnreadableError("it is not there any more")
        return InArchive(bytes(content))

    def where(self, name: str) -> str:
        return f"{self.path}:{name}"


def _opened_database(path: Path) -> Any:
    """A database, opened for one image: it must not stay open in a process from which others are forked."""
    try:
        import lmdb
    except ImportError:
        raise ValueError(f"{path} is an lmdb; reading it needs: pip install 'score-pc[lsun]'.") from None
    try:
        return lmdb.open(str(path), readonly=True, lock=False, readahead=False, meminit=False)
    except lmdb.Error as error:
        raise ValueError(f"{path} is no lmdb that can be read ({error}).") from error


@dataclass(frozen=True)
class InArchive:
    """The bytes of a member."""

    content: bytes

    def open(self, mode: str) -> IO[bytes]:
        """The bytes as a stream."""
        return io.BytesIO(self.content)
