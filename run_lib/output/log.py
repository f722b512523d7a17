"""The log of a work directory, ``log.txt``: every line that the program has said, each with its time."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

FILE = "log.txt"
_OURS_BESIDE = ".score-pc.lock"
"""The lock of a folder, which a run has made for its time."""


class Log:
    """Lines on their way into a file: held until the work begins, and then appended one by one.

    A run that changes nothing else in a work directory without a log leaves none: one that is refused, above all.
    """

    def __init__(self) -> None:
        self._held: list[str] | None = []
        self._handle = -1
        self._complain: Callable[[str], None] = print

    def begin(self, complain: Callable[[str], None]) -> None:
        """Lines are held from here on.

        Args:
            complain: says that a disk takes no more of them, which is no end of the work.
        """
        self.close()
        self._held, self._complain = [], complain

    def add(self, line: str) -> None:
        """A line without its end. By one system call, so that a signal's handler may add one too."""
        stamped = f"{datetime.now():%Y-%m-%d %H:%M:%S}  {line}"
        if self._handle >= 0:
            self._write([stamped])
        elif self._held is not None:
            self._held.append(stamped)

    @contextlib.contextmanager
    def kept(self, folder: Path, command: str) -> Iterator[None]:
        """A block in which a folder's log is written: what was said before, the block's lines, and those after it.

        Args:
            folder: the work directory; it is made.
            command: which is said first.

        Raises:
            ValueError: its log is a link, which may lead outside.
        """
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        before = None if os.path.lexists(path) else _others(folder)
        handle = _open(path)
        said, self._held, self._handle = self._held or (), None, handle
        self.add(f"$ {command}")
        self._write(said)
        try:
            yield
        finally:
            if before == _others(folder):
                self.close()
                path.unlink(missing_ok=True)
                for folder in made:
                    with contextlib.suppress(OSError):  # a lock is in it, which goes with its folder
                        folder.rmdir()

    def _write(self, lines: Iterable[str]) -> None:
        text = _encoded(lines)
        try:
            while text and self._handle >= 0:
                text = text[os.write(self._handle, text) :]
        except OSError as error:
            self.close()
            self._complain(f"warning: {FILE} of the work directory ends here: {error.strerror}")

    def close(self) -> None:
        """Nothing is added any more."""
        if self._handle >= 0:
            os.close(self._handle)
        self._held, self._handle = None, -1


log = Log()
"""Of this process."""


def _encoded(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def _others(folder: Path) -> frozenset[tuple[str, int]]:
    """Every file below a folder but logs and locks, with the time of its last change."""
    paths = (Path(at, name) for at, _, files in os.walk(folder) for name in files)
    return frozenset(
        (str(path), path.lstat().st_mtime_ns) for path in paths if path.name not in (FILE, _OURS_BESIDE)
    )


def _open(path: Path) -> int:
    flags = (
        os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    )
    try:
        return os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ValueError(
            f"{path} is a link to {os.readlink(path)}, and the log is a file of the work directory's own: take the "
            f"link away."
        ) from error
