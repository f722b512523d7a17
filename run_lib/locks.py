"""Locks of folders: two runs never write to one at a time, and a lock ends with its process however that ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from run_lib.faults import naming
from run_lib.files import read_json, remove_partials

FILE = ".score-pc.lock"
"""Its name in the folder. The lock is the operating system's, on that file; its text says whose it is."""


@contextlib.contextmanager
def holding(folders: Iterable[Path], mode: str) -> Iterator[None]:
    """Hold the locks of folders, and begin by removing what killed processes have left in them.

    A folder that is made for its lock, and in which nothing is written, is removed again.

    Args:
        folders: to be written to; those that do not exist are made.
        mode: of the program, for the message to the next one.

    Raises:
        ValueError: another process holds one; it is named.
    """
    with contextlib.ExitStack() as stack:
        for folder in sorted(set(folders)):
            stack.enter_context(_made(folder))
            stack.enter_context(_locked(folder, mode))
            remove_partials(folder)
        yield


def is_bare(folder: Path) -> bool:
    """Whether a folder holds nothing but the lock of this process, and may so be taken for a new one."""
    return all(path.name == FILE for path in folder.iterdir())


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for path in new:
            with contextlib.suppress(OSError):  # it is not empty: the work has filled it
                path.rmdir()


@contextlib.contextmanager
def _locked(folder: Path, mode: str) -> Iterator[None]:
    if sys.platform == "win32":  # no such locks there
        yield
        return
    path = folder / FILE
    with naming(path):
        handle = _take(path)
        os.ftruncate(handle, 0)
        since = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
        holder = {"mode": mode, "pid": os.getpid(), "host": socket.gethostname(), "since": since}
        os.write(handle, json.dumps(holder).encode())
    try:
        yield
    finally:
        # While it is still held: a process that waits for this file sees that it is gone, and makes its own.
        path.unlink(missing_ok=True)
        os.close(handle)


if sys.platform != "win32":
    import fcntl

    def _take(path: Path) -> int:
        """A handle of the lock file, locked."""
        while True:
            handle = _open(path)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                raise ValueError(_refusal(path)) from None
            except OSError as error:  # a network's file system, mounted without them
                print(f"note: {path.parent}/ cannot be locked: {error.strerror}", file=sys.stderr)
                return handle
            if _is_at(handle, path):
                return handle
            os.close(handle)  # its holder has just ended, and removed it


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ValueError(
            f"{path} is a link to {os.readlink(path)}, and a lock is a file of the folder's own: take the link away."
        ) from error


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _refusal(path: Path) -> str:
    try:
        held = read_json(path)
        whose = f"--mode {held['mode']}, process {held['pid']} on {held['host']}, since {held['since']}"
    except (OSError, ValueError, LookupError, TypeError):  # it has just been made, or just been removed
        whose = "another process, which has just begun"
    return (
        f"{path.parent}/ is being written by {whose}. Wait for its end or stop it, or take another folder "
        f"(--workdir, or the mode's own)."
    )
