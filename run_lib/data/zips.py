"""Zip archives of image files, as the ``dataset_tool`` of StyleGAN and EDM writes them."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from run_lib.data.folders import image_files
from run_lib.data.forms import UnreadableError
from run_lib.data.images import ImageReader
from run_lib.data.labels import no_labels
from run_lib.data.listing import SUFFIXES, Listing, left_out_sentence
from run_lib.data.places import Archive
from run_lib.data.rows import ImageFiles
from run_lib.data.split import Split

LABELS = "dataset.json"


def read_zip(path: Path, reader: ImageReader) -> tuple[Split, Sequence[str]]:
    """The image files of an archive, and their names. Nothing but the list of members and ``dataset.json`` is read.

    Raises:
        ValueError: it is no archive, holds no images, or its labels are of another form.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as a zip archive: {error}") from error
    listing = _images_among(members)
    if not listing.names:
        others = left_out_sentence(listing.left_out)
        raise ValueError(f"there are no images in {path}{f': {others}' if others else ''}.")
    place = Archive(path)
    if LABELS not in members:
        return image_files(listing, place, reader), listing.names
    rows = ImageFiles(tuple(listing.names), place, reader)
    labels = _labels(path, place, listing.names)
    return Split(rows, labels, left_out=listing.left_out), listing.names


def _images_among(members: Sequence[str]) -> Listing:
    found: list[str] = []
    left_out: Counter[str] = Counter()
    for name in members:
        member = PurePosixPath(name)
        if name.endswith("/") or name == LABELS:
            continue
        if any(part.startswith((".", "__MACOSX")) for part in member.parts):
            left_out["hidden"] += 1
        elif member.suffix.lower() not in SUFFIXES:
            left_out[member.suffix.lower() or "without ending"] += 1
        else:
            found.append(name)
    return Listing(sorted(found), left_out)


def _labels(path: Path, place: Archive, names: Sequence[str]) -> torch.Tensor:
    """From ``{"labels": [["00000/img00000000.png", 6], ...]}``; null: there are none."""
    form = f'{path}:{LABELS} must hold {{"labels": [["name.png", 0], ...]}} or {{"labels": null}}'
    try:
        with place.file(LABELS).open("rb") as stream:
            held: Any = json.load(stream)
    except (UnreadableError, ValueError, RecursionError) as error:
        raise ValueError(f"{form}; it cannot be read: {error}") from error
    pairs: Any = held.get("labels") if isinstance(held, dict) else held
    if isinstance(held, dict) and pairs is None:
        return no_labels(len(names))
    try:
        found = {str(name): label for name, label in pairs}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{form}.") from error
    if missing := [name for name in names if name not in found]:
        raise ValueError(
            f"{path}:{LABELS} has no label of {missing[0]}, one of {len(missing)}: add "
            f'them, or set "labels" to null.'
        )
    wrong = [name for name in names if not isinstance(found[name], int) or found[name] < 0]
    if wrong:
        raise ValueError(
            f"{path}:{LABELS}: the label of {wrong[0]} is {found[wrong[0]]!r}; labels are integers from 0."
        )
    return torch.tensor([found[name] for name in names])
