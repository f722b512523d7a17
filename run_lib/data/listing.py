"""Which files of a folder are images, which are left out and why, and the line that says what was read."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from run_lib.data.classes import in_quotes

if TYPE_CHECKING:
    from run_lib.data.split import Split

SUFFIXES = frozenset(
    {
        ".png",
        ".apng",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".webp",
        ".bmp",
        ".tif",
        ".tiff",
        ".gif",
        ".ppm",
        ".pgm",
    }
    | {".pbm", ".pnm"}
)
"""Endings of the names of image files, in lower case."""
MOST_COUNTED = 20
"""Classes of which each is counted in the line of what was read."""


@dataclass(frozen=True)
class Listing:
    """The files of a folder and of all folders below.

    Attributes:
        names: paths of the images, relative to the folder, sorted folder by folder.
        left_out: how many other files there are, by the reason: "hidden", ".txt".
    """

    names: list[str]
    left_out: Mapping[str, int] = field(default_factory=dict)


def list_images(folder: Path) -> Listing:
    """Look for images in a folder and below; links to files and to folders are followed.

    Hidden files and folders, other endings and links that lead nowhere or back are left out, and counted.

    Raises:
        OSError: a folder that cannot be read.
    """
    if not folder.is_dir():
        return Listing([])
    found: list[Path] = []
    left_out: Counter[str] = Counter()
    for where, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        above = Path(where).resolve()
        for name in list(folders):
            inside = (Path(where) / name).resolve()
            reason = (
                "hidden" if name.startswith(".") else "links back" if above.is_relative_to(inside) else ""
            )
            if reason:
                folders.remove(name)
                left_out[reason] += 1
        for name in files:
            path = Path(where) / name
            reason = _not_an_image(path)
            if reason:
                left_out[reason] += 1
            else:
                found.append(path)
    return Listing([path.relative_to(folder).as_posix() for path in sorted(found)], left_out)


def _raise(error: OSError) -> None:
    raise error


def _not_an_image(path: Path) -> str:
    if path.name.startswith("."):
        return "hidden"
    if path.is_symlink() and not path.exists():
        return "links to nothing"
    if not path.is_file():
        return "no files"
    return "" if path.suffix.lower() in SUFFIXES else path.suffix.lower() or "without ending"


def left_out_sentence(left_out: Mapping[str, int]) -> str:
    """``"3 files left out (2 hidden, 1 .txt)"``; empty where there are none."""
    total = sum(left_out.values())
    if not total:
        return ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
    return f"{total} file{'s' if total > 1 else ''} left out ({reasons})"


def what_was_read(where: str, split: Split) -> str:
    """One line of what there is: how many images, how many of each class, how many files were left out and why, and
    whether images are made larger than they are.

    Args:
        where: it comes from.
        split: each class with the number that its training split gives it.
    """
    kind = "image" if len(split.rows.shape) == 3 else "sample"
    parts = [f"{len(split)} {kind}{'s' if len(split) != 1 else ''}"]
    if split.classes:
        count = len(split.classes)
        each = [
            f"{name} {int((split.labels == k).sum())}" for k, name in enumerate(split.classes[:MOST_COUNTED])
        ]
        named = ", ".join(each) if count <= MOST_COUNTED else in_quotes(split.classes)
        parts.append(f"{count} class{'es' if count > 1 else ''}: {named}")
    parts += [left_out_sentence(split.left_out)] if split.left_out else []
    if (stored := split.rows.stored) is not None and min(stored) < min(split.rows.shape[1:]):
        height, width = split.rows.shape[1:]
        parts.append(f"the first has {stored[0]} x {stored[1]} pixels, and is enlarged to {height} x {width}")
    return f"{where}: {'; '.join(parts)}"


def announce(line: str) -> None:
    """Print a line once, however many processes read the same."""
    first = os.environ.get("RANK", "0") == "0"  # of those that torch's launcher started
    if first and multiprocessing.parent_process() is None:
        print(line)
