"""Atomic writes: a file is either complete or absent."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PARTIAL = ".partial-"


def is_partial(path: Path) -> bool:
    """Whether a file is one that ``atomic`` had not finished, left by a run that was killed."""
    return path.name.startswith(_PARTIAL)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path to write to; it is renamed to ``path`` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{_PARTIAL}{os.getpid()}-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, for people to read."""
    with atomic(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")


LARGEST_JSON = 2**28
"""Bytes of the largest file that is read as JSON."""


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, or too large; a predicate that follows the file's name.
    """
    if (size := path.stat().st_size) > LARGEST_JSON:
        raise ValueError(f"is of {size} bytes, more than {LARGEST_JSON}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"is no JSON ({error})") from error


def writable(folder: Path) -> Path:
    """Create a folder, and check that it can be written to.

    Raises:
        ValueError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"the work directory {folder} cannot be written: {error.strerror}. Choose another --workdir."
        ) from error
    return folder
