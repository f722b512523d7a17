"""What a run has written, compared bit for bit with another's but for the seconds that it took and its log."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch


def written(folder: Path) -> dict[str, Any]:
    """The content of every file of a run below a folder, by its path; the curves are one entry."""
    files = {
        str(path.relative_to(folder)): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "tfevents" not in path.name and path.name != "log.txt"
    }
    if (folder / "tensorboard").is_dir():
        files["tensorboard"] = sorted(_curves(folder / "tensorboard"))
    return files


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of the files that only one has, or of which the contents differ."""
    return sorted(name for name in {**one, **other} if one.get(name) != other.get(name))


def _content(path: Path) -> Any:
    if path.suffix == ".pt":
        return _plain(torch.load(path, weights_only=True))
    if path.suffix == ".npz":
        with np.load(path) as held:
            return {name: _plain(held[name]) for name in held if name != "seconds"}
    if path.suffix == ".json":
        return _plain(json.loads(path.read_text()))
    if path.name == "table.csv":
        rows = [line.split(",") for line in path.read_text().splitlines()]
        kept = [i for i, name in enumerate(rows[0]) if name != "seconds"]
        return [[row[i] for i in kept] for row in rows] if len({len(row) for row in rows}) == 1 else rows
    if path.suffix == ".html":
        return ON_PAGES.sub("", path.read_text(encoding="utf-8"))
    return path.read_bytes()


ON_PAGES = re.compile(
    r'<(span|code|p) class="(?:seconds|command|eyebrow)">.*?</\1>|<(title|h1)>.*?</\2>', re.DOTALL
)
"""Of a page: the seconds that a number took, and the command and the headings, which name the folder."""


def _plain(value: Any) -> Any:
    """Arrays as their type, shape and bytes; dictionaries without the seconds."""
    if isinstance(value, torch.Tensor):
        return _plain(value.numpy())
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.shape, value.tobytes())
    if isinstance(value, dict):
        return {key: _plain(held) for key, held in value.items() if key != "seconds"}
    if isinstance(value, list | tuple):
        return [_plain(held) for held in value]
    return struct.pack("d", value) if isinstance(value, float) else value


OF_THE_MOMENT = ("train/images_per_second", "train/utilisation", "train/memory_GiB")
"""Curves that no two runs have alike."""


def _curves(folder: Path) -> Iterator[tuple[str, int, bytes]]:
    """(tag, step, value) of every point and picture that TensorBoard shows; without the value of ``OF_THE_MOMENT``."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    for tag in tags["scalars"]:
        for point in events.Scalars(tag):
            yield tag, point.step, b"" if tag in OF_THE_MOMENT else struct.pack("d", point.value)
    for tag in tags["images"]:
        for picture in events.Images(tag):
            yield tag, picture.step, picture.encoded_image_string
