"""Files as users may meet them: damaged, foreign, malicious, or in the place of something else.

Each is drawn as a kind, a damage and a seed, and written anew from these where it is tried.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from tests.fuzz.arrays import ARRAYS, ONE_ARRAY
from tests.fuzz.images import IMAGES, write_folder
from tests.fuzz.texts import TEXTS
from tests.fuzz.weights import CHECKPOINTS, SAFETENSORS

Writer = Callable[[Path, random.Random, Path], None]
"""Writes a file: where, drawn by what, damaged from which whole one."""


@dataclass(frozen=True)
class OddFile:
    """A file or folder of a case.

    Attributes:
        place: relative to the case's folder: ``inputs/a.pt``, ``run/config.json``.
        kind: what it is an odd one of, a key of ``KINDS``.
        damage: what is odd, a key of that kind's writers.
        seed: of what the damage draws.
        whole: the file of a trained work directory that is damaged, relative to it; empty: of no use to the damage.
    """

    place: str
    kind: str
    damage: str
    seed: int
    whole: str = ""

    def write(self, folder: Path, trained: Path) -> None:
        path, draw = folder / self.place, random.Random(self.seed)
        for above in reversed(path.relative_to(folder).parents):
            if not os.path.lexists(folder / above):
                (folder / above).mkdir()
            elif not (folder / above).is_dir():  # another odd file lies in its way
                return
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif os.path.lexists(path):
            path.unlink()
        KINDS[self.kind][self.damage](path, draw, trained / self.whole)


def _whole(path: Path, draw: random.Random, whole: Path) -> None:
    if whole.is_dir():
        shutil.copytree(whole, path)
    elif not whole.exists():
        path.write_bytes(b"")
    else:
        shutil.copyfile(whole, path)


def _file_of(whole: Path, draw: random.Random) -> Path:
    """The file itself, or one of a folder's."""
    return draw.choice(sorted(p for p in whole.rglob("*") if p.is_file())) if whole.is_dir() else whole


def _altered(change: Callable[[bytearray, random.Random], bytes | bytearray]) -> Writer:
    def write(path: Path, draw: random.Random, whole: Path) -> None:
        _whole(path, draw, whole)
        target = _file_of(path, draw)
        target.write_bytes(change(bytearray(target.read_bytes()), draw))

    return write


def _flip(data: bytearray, draw: random.Random) -> bytearray:
    for _ in range(draw.choice((1, 1, 1, 8, 200))):
        if data:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return data


def _flip_ends(data: bytearray, draw: random.Random) -> bytearray:
    """Bits of the first or the last kilobyte, where headers and tables of contents are."""
    if data:
        near = draw.randrange(min(len(data), 1024))
        data[near if draw.random() < 0.5 else -near - 1] ^= 1 << draw.randrange(8)
    return data


def _zeros(data: bytearray, draw: random.Random) -> bytearray:
    at = draw.randrange(len(data) + 1)
    length = draw.randrange(1, 4096)
    data[at : at + length] = bytes(len(data[at : at + length]))
    return data


BYTES: dict[str, Writer] = {
    "whole": _whole,
    "flip": _altered(_flip),
    "flip_ends": _altered(_flip_ends),
    "truncate": _altered(lambda data, draw: data[: draw.randrange(len(data) + 1)]),
    "zeros": _altered(_zeros),
    "append": _altered(lambda data, draw: data + draw.randbytes(draw.randrange(1, 100))),
    "without_start": _altered(lambda data, draw: data[draw.randrange(len(data) + 1) :]),
}
"""Damages of a whole file, or of one of a folder's."""


def _link(path: Path, draw: random.Random, whole: Path) -> None:
    case = next(above for above in path.parents if (above / "outside").is_dir())
    back = os.path.relpath(case / "outside", path.parent)  # never out of the case's folder
    targets = (
        back,
        f"{back}/theirs.txt",
        path.name,
        "/dev/zero",
        "/dev/null",
        f"{back}/../inputs",
        "nothing",
    )
    path.symlink_to(draw.choice(targets))


def _text(path: Path, draw: random.Random, whole: Path) -> None:
    path.write_text(
        draw.choice(("", "hello\n", "#!/bin/sh\n", "\0" * 40, "{}", "[]", "<html></html>", "é" * 9))
    )


def _foreign(path: Path, draw: random.Random, whole: Path) -> None:
    starts = (
        b"\x89PNG\r\n\x1a\n",
        b"PK\x03\x04",
        b"\x80\x02",
        b"\x1f\x8b",
        b"\x93NUMPY\x01\x00",
        b"II*\0",
        b"GIF89a",
    )
    path.write_bytes(draw.choice(starts) + draw.randbytes(draw.randrange(200)))


def _theirs(path: Path, draw: random.Random, whole: Path) -> None:
    """A folder of somebody else's where a file or a folder of ours belongs."""
    path.mkdir()
    for name in draw.sample(("settings.json", "results", "report.json", "notes.txt", "samples.npz"), 3):
        (path / name).write_text("mine\n")


ANYTHING: dict[str, Writer] = {
    "empty": lambda path, draw, whole: path.write_bytes(b"") and None,
    "text": _text,
    "noise": lambda path, draw, whole: path.write_bytes(draw.randbytes(draw.randrange(1, 5000))) and None,
    "foreign": _foreign,
    "pipe": lambda path, draw, whole: os.mkfifo(path),
    "folder": _theirs,
    "link": _link,
    "missing": lambda path, draw, whole: None,
}
"""What may lie anywhere."""

KINDS: Mapping[str, Mapping[str, Writer]] = {
    "checkpoint": {**BYTES, **ANYTHING, **CHECKPOINTS},
    "safetensors": {**BYTES, **ANYTHING, **SAFETENSORS},
    "published": {**BYTES, **ANYTHING},
    "json": {**BYTES, **ANYTHING, **TEXTS},
    "npz": {**ANYTHING, **ARRAYS},
    "npy": {**ANYTHING, **ONE_ARRAY},
    "image": {**ANYTHING, **IMAGES},
    "images": {"images": write_folder, "empty": lambda path, draw, whole: path.mkdir(), **{
        name: ANYTHING[name] for name in ("text", "pipe", "link", "missing", "folder")}},
    "anything": ANYTHING,
}  # fmt: skip


def odd(place: str, kind: str, whole: str = "") -> st.SearchStrategy[OddFile]:
    """Odd files of a kind, their own damages more often than those that are anything's."""
    own = [name for name in KINDS[kind] if name not in ANYTHING]
    names = st.sampled_from(own * 3 + [n for n in KINDS[kind] if n not in own])
    return st.builds(OddFile, st.just(place), st.just(kind), names, st.integers(0, 2**16), st.just(whole))
