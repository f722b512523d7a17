"""Atomic writes: a file is either complete or absent."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from run_lib.faults import naming

T = TypeVar("T")

_PARTIAL = re.compile(r"\.partial-(\d+)-.+")


def is_partial(path: Path) -> bool:
    """Whether a file is one that ``atomic`` had not finished, left by a run that was killed."""
    return _PARTIAL.fullmatch(path.name) is not None


def partial_path(path: Path) -> Path:
    """Where this process writes what will be ``path``; a run that is killed leaves it to the next, which removes it."""
    return path.with_name(f".partial-{os.getpid()}-{path.name}")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path to write to; it is renamed to ``path`` when the block ends without an error.

    Raises:
        ValueError: something is in the way, or may not be written.
        MachineError: the disk is full, or fails.
    """
    partial = partial_path(path)
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder; its files are moved into ``folder`` when the block ends without an error.

    Raises:
        ValueError: something is in the way, or may not be written.
        MachineError: the disk is full, or fails.
    """
    partial = partial_path(folder)
    with naming(folder):
        partial.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            folder.mkdir(exist_ok=True)
            for file in sorted(partial.iterdir()):
                os.replace(file, folder / file.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def write_tensors(path: Path, content: Any) -> None:
    """Write a file of torch's atomically; when this returns, the disk has it."""
    with atomic(path) as partial, partial.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


def as_json(content: Any, indent: int | None = None) -> str:
    """JSON that every reader takes. It has no infinity and no NaN: they become objects, ``{"float": "Infinity"}``,
    ``{"float": "-Infinity"}`` and ``{"float": "NaN"}``, which no name of a file or a class can be taken for."""
    return json.dumps(_with_objects(content), indent=indent, allow_nan=False)


def of_json(text: str) -> Any:
    """What JSON of ours holds, with infinity and NaN as numbers; also as Python's own writer has them, bare.

    Raises:
        ValueError: it is no JSON.
    """
    return json.loads(text, object_hook=_number)


def _with_objects(content: Any) -> Any:
    match content:
        case float() if not math.isfinite(content):
            return {"float": "NaN" if math.isnan(content) else "Infinity" if content > 0 else "-Infinity"}
        case dict():
            return {key: _with_objects(value) for key, value in content.items()}
        case list() | tuple():
            return [_with_objects(value) for value in content]
    return content


def _number(found: dict[str, Any]) -> Any:
    match found:
        case {"float": "Infinity" | "-Infinity" | "NaN" as word} if len(found) == 1:
            return float(word)
    return found


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, for people to read."""
    with atomic(path) as partial:
        partial.write_text(as_json(content, indent=2) + "\n")


def remove_partials(folder: Path, *, below: bool = True) -> None:
    """Remove temporary files of processes that are no more, in a folder and, unless told otherwise, below it."""
    if not folder.is_dir():
        return
    for path in list(folder.rglob(".partial-*") if below else folder.glob(".partial-*")):
        match = _PARTIAL.fullmatch(path.name)
        if match is None or _lives(int(match.group(1))):
            continue
        with naming(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    """Whether another process has this number; ours has written nothing yet where it is asked."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


LARGEST_JSON = 2**28
"""Bytes of the largest file that is read as JSON."""


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, or too large; a predicate that follows the file's name.
    """
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):  # a pipe would be waited for, and a device has no end
        raise ValueError("is no regular file")
    if facts.st_size > LARGEST_JSON:
        raise ValueError(f"is of {facts.st_size} bytes, more than {LARGEST_JSON}")
    try:
        return of_json(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("is no text in UTF-8") from None
    except ValueError as error:
        raise ValueError(f"is no JSON ({error})") from error


def read_record(path: Path, made_of: Callable[[Any], T]) -> T:
    """What a JSON file of ours holds.

    Args:
        path: of the file.
        made_of: makes it of the file's content; what it raises of other content is not for users.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, or is of other entries; a predicate that follows the file's name.
    """
    content = read_json(path)
    try:
        return made_of(content)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ValueError("has entries that are missing, unknown or of another kind") from error


def writable(folder: Path) -> Path:
    """Create a folder, and check that it can be written to.

    Raises:
        ValueError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = partial_path(folder / "probe")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"the work directory {folder} cannot be written: {error.strerror}. Choose another --workdir."
        ) from error
    return folder
