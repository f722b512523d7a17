"""Errors of the machine: what a full disk, a path in the way or too little memory is called in one line."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.checkpoints.damage import out_of_memory

_SPACE = "Free space there, or take another --workdir"
_WAY = "Move away what is in the way, or take another place"
_RIGHT = "Give this user the right to it, or take another place"
_LESS = "Close what else uses this machine, or raise its limit"
_MACHINE = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: f"{_SPACE} (ulimit -f, the file system's own limit)",
    errno.EIO: "The disk fails: look at it, and take another --workdir",
    errno.EMFILE: f"{_LESS} (ulimit -n)",
    errno.ENFILE: _LESS,
    errno.ENOMEM: _LESS,
    errno.EAGAIN: _LESS,
}
"""What to do about errors that are the machine's."""
_USERS = {
    errno.ENOTDIR: _WAY,
    errno.EISDIR: _WAY,
    errno.EEXIST: _WAY,
    errno.ENOTEMPTY: _WAY,
    errno.ELOOP: _WAY,
    errno.EACCES: _RIGHT,
    errno.EPERM: _RIGHT,
    errno.EROFS: _RIGHT,
    errno.ETXTBSY: _RIGHT,
    errno.ENOENT: "Give a path that exists, and leave it there while the program runs",
    errno.ENAMETOOLONG: "Take a shorter path",
    errno.EINVAL: "Give another path",
}
"""What to do about errors that the user's paths cause."""
_PARTIAL = re.compile(r"^\.partial-\d+-")
_NUMBER = re.compile(r"(?:os error |code: )(\d+)")
_ASKED = re.compile(r"allocate (\d[\d.]* ?(?:[KMGT]?i?B|bytes))")
_DEVICE = re.compile(r"(CUDA|CUBLAS|cuBLAS|cuDNN|CUDNN|HIP|NCCL|MPS|XPU)\b.*", re.DOTALL)
_WRITER = re.compile(r".*(PytorchStreamWriter|inline_container).*", re.DOTALL)


class MachineError(Exception):
    """The machine did not do its part. One line says what and what to do; the exit status is 1."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Report an error of the operating system within the block, also behind a library's, as one of this path.

    Libraries hide it: ``torch.save`` on a full disk raises "unexpected pos".

    Raises:
        ValueError: the user can mend it.
        MachineError: the machine failed.
    """
    try:
        yield
    except Exception as error:
        found = behind(error)
        if found is None or isinstance(found, BrokenPipeError):
            raise
        own = found.filename is None or _PARTIAL.match(Path(found.filename).name)
        whole = path.with_name(_PARTIAL.sub("", path.name))  # what it would have become
        raise explained(found, whole if own else None) from error


def behind(error: BaseException) -> OSError | None:
    """The error of the operating system that an error is, or that a library's was raised after; None without one.

    Our own errors say already what is wrong.
    """
    if isinstance(error, OSError):
        return error
    if type(error).__name__ == "SafetensorError" and (number := _NUMBER.search(str(error))):
        return OSError(int(number[1]), os.strerror(int(number[1])))
    seen: BaseException | None = error if isinstance(error, RuntimeError) else None
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None:
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def explained(error: OSError, path: Path | None = None) -> ValueError | MachineError:
    """An error of the operating system in one line: the file, what is wrong with it and what to do."""
    number = error.errno
    where = str(path if path is not None else error.filename or "")
    what = error.strerror or str(error)
    text = f"{where}: {what}" if where else what
    if number in _USERS:
        return ValueError(f"{text}. {_USERS[number]}.")
    if number is None:  # a library's own, such as Pillow's about an image
        return ValueError(f"{text}.")
    return MachineError(f"{text}. {_MACHINE.get(number, 'See to the machine, and start again')}.")


def machines_fault(error: BaseException) -> str | None:
    """The line about an error that is the machine's: memory, device, disk behind a library; None for another."""
    first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    if out_of_memory(error):
        asked = _ASKED.search(str(error))
        amount = f" ({asked[1]} could not be had)" if asked else ""
        return (
            f"there is too little memory{amount}. Lower the batch size (training.batch_size or training.microbatch, "
            f"sampling.batch_size, eval.batch_size), or take a machine with more."
        )
    if isinstance(error, RuntimeError):
        if _DEVICE.fullmatch(str(error)):
            return f"the device failed ({first}). Start again, on another device by --config.device if it stays so."
        if _WRITER.fullmatch(str(error)):
            return f"a file of tensors could not be written ({first}). {_SPACE}."
        if first.startswith("DataLoader worker"):
            return (
                f"a process that reads the data has ended ({first}). {_LESS}, or let fewer read by "
                f"--config.data.num_workers."
            )
        if first == "can't start new thread":
            return f"no thread can be started. {_LESS} (ulimit -u)."
    return None
