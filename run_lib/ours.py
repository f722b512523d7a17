"""Where the program may write: folders that are ours, told by what is in them, inside the work directory.

A folder or a file of the same name may be the user's. What is ours is recognised by content; what is not is left
as it is, and the run is refused before anything is written.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from run_lib.files import is_partial, read_json
from run_lib.locks import FILE as LOCK

MADE_BY = "made_by"
"""Key of a record that says which mode made a folder."""


def mark(kind: str) -> dict[str, str]:
    """What the record of a folder that a mode made begins with."""
    return {MADE_BY: f"score-pc {kind}"}


def record_of(path: Path, kind: str, without_mark: Iterable[str]) -> dict[str, Any] | None:
    """The record of a folder that a mode made; None: there is none, or it is somebody else's.

    Args:
        path: of the record.
        kind: the mode.
        without_mark: entries by which records are recognised that were written before records were marked; empty:
            there were none.
    """
    try:
        held = read_json(path)
    except (OSError, ValueError):
        return None
    if not isinstance(held, dict):
        return None
    if MADE_BY in held:
        return held if held[MADE_BY] == mark(kind)[MADE_BY] else None
    entries = set(without_mark)
    return held if entries and held.keys() >= entries else None


def somebody_elses(folder: Path, option: str, what: str = "files") -> ValueError:
    """The error about files that this mode did not make."""
    return ValueError(
        f"{folder} holds {what} that are not of this mode, and nothing of them is overwritten: take another folder "
        f"by --{option}."
    )


def check_unused(folder: Path, option: str, allowed: Container[str] = ()) -> None:
    """Refuse a folder that holds files and no record of ours, by which they could be told.

    Args:
        folder: it need not exist.
        option: the setting that names it, for messages.
        allowed: names of what an interrupted run may have left before it wrote its record.

    Raises:
        ValueError: it holds files, or is one.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or any(
        p.name != LOCK and p.name not in allowed and not is_partial(p) for p in folder.iterdir()
    ):
        raise somebody_elses(folder, option)


def inside(workdir: Path, name: str, option: str) -> Path:
    """The folder that a setting names in the work directory. It need not exist.

    Raises:
        ValueError: the name is blank, or leads out of the work directory, by itself or by a link.
    """
    path = Path(name)
    if not name.strip() or not path.parts or path.is_absolute() or ".." in path.parts:
        raise ValueError(
            f"--{option}={name if name.strip() else repr(name)} must be the name of a folder in the work directory, "
            f"such as results or results/new. The work directory itself is chosen by --workdir."
        )
    check_links(workdir / path, workdir)
    return workdir / path


def check_links(folder: Path, root: Path | None = None, *, files: bool = True) -> None:
    """Refuse links that lead outside: a link is not the command line, and only that names places to write to.

    Args:
        folder: where results go; it need not exist.
        root: inside which they must stay; the folder itself unless given.
        files: whether a file may be no such link either.

    Raises:
        ValueError: the folder, one above it in the root, or anything below it is a link out of the root.
    """
    root = folder if root is None else root
    above = [root / part for part in (folder.relative_to(root), *folder.relative_to(root).parents)]
    below = (
        Path(at) / name
        for at, folders, others in os.walk(folder)
        for name in (*folders, *(others if files else ()))
    )
    for path in (*above, *below):
        if path != root and path.is_symlink() and not _within(path, root):
            raise ValueError(
                f"{path} is a link to {os.readlink(path)}, outside {root}, and only the command line names places to "
                f"write to: name that place there, or take the link away."
            )


def _within(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a link to itself
        return False
