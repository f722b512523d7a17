"""Packed splits: ``NAME.npy``, mapped; labels in ``NAME.labels.npy``; names of the classes in ``NAME.json``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from run_lib.data.labels import no_labels
from run_lib.data.latents import Coding
from run_lib.data.packed import PackedError, read_array
from run_lib.data.rows import Mapped
from run_lib.data.split import Split
from run_lib.files import read_json


def labels_file(path: Path) -> Path:
    """Where the labels of a packed array are: (N,), integers."""
    return path.with_suffix(".labels.npy")


def facts_file(path: Path) -> Path:
    """Where what else is known of it is: an object with ``classes``, the names in the order of their labels; and, of
    latents, with ``latents``, what made them."""
    return path.with_suffix(".json")


def open_packed(path: Path, expected: str = "numbers (N, ...)") -> Split:
    """An array that stays on disk and is read as it is needed, with its labels and classes where it has some.

    Raises:
        ValueError: it is damaged, holds no numbers, or its labels are not as many.
    """
    rows = Mapped(path)
    try:
        array = rows.array
    except PackedError as error:
        raise ValueError(f"{path} {error}; expected {expected}.") from error
    if array.dtype.kind not in "iuf" or array.ndim < 2 or not len(array):
        raise ValueError(f"{path} holds {array.dtype} of shape {array.shape}; expected {expected}.")
    labels, classes, coding = no_labels(len(array)), tuple[str, ...](), None
    if labels_file(path).is_file():
        try:
            held = read_array(labels_file(path))
        except PackedError as error:
            raise ValueError(f"{labels_file(path)} {error}.") from error
        if held.shape != (len(array),) or held.dtype.kind not in "iu":
            raise ValueError(
                f"{labels_file(path)} holds {held.dtype} of shape {held.shape}; expected integers ({len(array)},)."
            )
        labels = torch.from_numpy(held.astype(np.int64))
    if facts_file(path).is_file():
        classes, coding = _facts(facts_file(path))
        if classes and int(labels.max()) >= len(classes):
            raise ValueError(
                f"{labels_file(path)} has labels up to {int(labels.max())}, and {facts_file(path)} names "
                f"{len(classes)} classes."
            )
    return Split(rows, labels, classes, coding=coding)


def _facts(path: Path) -> tuple[tuple[str, ...], Coding | None]:
    """The names of the classes, and what made latents."""
    try:
        held = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path} {error}.") from error
    names = held.get("classes", []) if isinstance(held, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f'{path} must hold an object with "classes", a list of names.')
    try:
        return tuple(names), Coding.of_json(held["latents"]) if "latents" in held else None
    except ValueError as error:
        raise ValueError(f"{path} {error}.") from error
