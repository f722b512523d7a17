"""Sets of images of whatever program: folders and zip archives of image files, ``.npz`` and ``.npy``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.checkpoints.pickles import shown
from run_lib.data.folders import image_files
from run_lib.data.forms import UnreadableError, is_plain, opened
from run_lib.data.images import Fitting, ImageReader
from run_lib.data.labels import no_labels
from run_lib.data.layouts import channels_first
from run_lib.data.levels import CheckLevels
from run_lib.data.listing import announce, left_out_sentence, list_images, what_was_read
from run_lib.data.packed import PackedError, array_names, read_arrays
from run_lib.data.packed_split import open_packed
from run_lib.data.places import Folder, InArchive
from run_lib.data.rows import Checked, ImageFiles, Rows
from run_lib.data.split import Split
from run_lib.data.streamed import open_array
from run_lib.data.zips import read_zip
from run_lib.faults import naming
from run_lib.output.progress import Progress
from sde_lib.words import digits, listed

IMAGES, LABELS = ("arr_0", "samples", "images"), ("arr_1", "labels", "label")
"""Names that programs give the arrays of an ``.npz``: ADM's and ours, score_sde's, others'."""
_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L")
_UNKNOWN = ImageReader((1, 1, 1), Fitting(resize=False, convert=False))


def open_set(path: Path, levels: int = 256) -> Split:
    """All images of a file or folder, which are read as they are needed; it says what there is and how often.

    Everything is looked at once: sizes, channels, values, and which images are there twice.

    Args:
        path: of a folder of image files in which each subfolder is a class; of a zip of such files, with StyleGAN's
            and EDM's labels if it has them; of an ``.npz`` with ``arr_0`` (labels in ``arr_1``), ``samples`` or
            ``images``; or of an ``.npy``. Arrays are (N, H, W, C), (N, C, H, W) or (N, H, W); see ``channels_first``.
        levels: number of values of a pixel, from 0 on; 0: continuous data, arrays of floats (N, ...), which need be
            no images.

    Raises:
        ValueError: there are fewer than two images, or images of several sizes, of other channels than grey or
            colour, or of values that are no levels.
    """
    with naming(path):
        found, copies = _opened(path, levels)
    if len(found) < 2:
        raise ValueError(
            f"{path} has one image; a set that is measured has two or more: name a folder or file of all of them."
        )
    twice = (
        f"; {copies} of them {'are exact copies' if copies > 1 else 'is an exact copy'} of others"
        if copies
        else ""
    )
    announce(f"{what_was_read(str(path), found)}{twice}")
    return found


def _opened(path: Path, levels: int) -> tuple[Split, int]:
    """The images, and how many of them equal an earlier one."""
    if path.is_dir():
        listing = list_images(path)
        if not listing.names:
            others = left_out_sentence(listing.left_out)
            raise ValueError(f"there are no images in {path}/{f': {others}' if others else ''}.")
        return _files(image_files(listing, Folder(path), _UNKNOWN), path, levels)
    if not path.exists():
        raise ValueError(f"there is no {path}: name a folder, a .zip, an .npz or an .npy of images.")
    match path.suffix.lower():
        case ".zip":
            return _files(read_zip(path, _UNKNOWN)[0], path, levels)
        case ".npz":
            found = _archive(path)
        case ".npy":
            found = open_packed(path, "integers (N, H, W, C) or (N, C, H, W)")
        case _:
            raise ValueError(f"{path} is no folder, .zip, .npz or .npy: sets of images are read from these.")
    images = levels > 0 or len(found.rows.shape) == 3
    rows = channels_first(found.rows, str(path)) if images else found.rows
    return replace(found, rows=rows), _check_values(rows, path, levels)


def _archive(path: Path) -> Split:
    try:
        names = array_names(path)
        name = next((name for name in IMAGES if name in names), names[0] if len(names) == 1 else "")
        if not name:
            raise ValueError(
                f"{path} has the arrays {listed(list(map(shown, names)), 12) or 'none'}, and none of "
                f"{', '.join(IMAGES)}: save images by numpy.savez(path, arr_0=images)."
            )
        rows = open_array(path, name)
        held = next(iter(read_arrays(path, [name for name in LABELS if name in names][:1]).values()), None)
    except PackedError as error:
        raise ValueError(f"{path} {error}.") from error
    if held is None:
        return Split(rows, no_labels(len(rows)))
    if held.shape != (len(rows),) or held.dtype.kind not in "iu":
        raise ValueError(
            f"{path} has labels of {held.dtype} and shape {held.shape}; expected integers ({len(rows)},)."
        )
    return Split(rows, torch.from_numpy(held.astype(np.int64)))


def _check_values(rows: Rows, path: Path, levels: int) -> int:
    """How many images of an array equal an earlier one.

    Raises:
        ValueError: values that are no levels.
    """
    if not len(rows) or 0 in rows.shape:
        raise ValueError(
            f"{path} has the shape {(len(rows), *rows.shape)}, which holds no images: save them as "
            f"(N, H, W, C) or (N, C, H, W)."
        )
    seen = _Seen()
    for some, images in rows.chunks():
        _check_levels(images, some, path, levels)
        seen.add(image.tobytes() for image in images.numpy())
    return seen.copies


def _check_levels(images: Tensor, some: range, path: Path, levels: int) -> None:
    if images.is_floating_point():
        bad = ~images.isfinite().flatten(1).all(1)
        if bad.any():
            raise ValueError(
                f"{path}: image {some[int(bad.nonzero()[0])]} has values that are NaN or infinite."
            )
        if not levels:
            return
        least, most = float(images.min()), float(images.max())
        top = levels - 1
        scaled = f"x * {top}" if 0 <= least <= most <= 1 else f"(x + 1) * {top / 2:g}"
        scaled = scaled if -1 <= least <= most <= 1 else f"x.clip(0, {top})"
        raise ValueError(
            f"{path} holds {str(images.dtype)[6:]} from {digits(least, 4)} to {digits(most, 4)}, and images are scored "
            f"as levels 0 to {top}: save numpy.rint({scaled}).astype('uint{8 if levels <= 256 else 16}')."
        )
    if not levels:
        raise ValueError(f"{path} holds {str(images.dtype)[6:]}, and the data are continuous: save floats.")
    if images.dtype == torch.bool:
        raise ValueError(f"{path} holds truth values; save integers 0 to {levels - 1}.")
    # Compared as Python's integers: torch would wrap the number of levels to the type of the images.
    flat = images.flatten(1)
    if int(flat.min()) >= 0 and int(flat.max()) < levels:
        return
    each = zip(some, flat.min(1).values.tolist(), flat.max(1).values.tolist(), strict=True)
    index, low, high = next(one for one in each if one[1] < 0 or one[2] >= levels)
    raise ValueError(
        f"{path}: image {index} has values from {low} to {high}, and {levels} levels are 0 to {levels - 1}."
    )


class _Seen:
    """Counts what it is given again, by hashes of 16 bytes."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self.copies = 0

    def add(self, contents: Iterable[bytes]) -> None:
        for content in contents:
            before = len(self._known)
            self._known.add(hashlib.blake2b(content, digest_size=16).digest())
            self.copies += len(self._known) == before


def _files(found: Split, path: Path, levels: int) -> tuple[Split, int]:
    """Image files, read as their headers say; and how many of the files equal an earlier one byte by byte.

    Raises:
        ValueError: files that cannot be read, of several sizes, or of a form that must be converted.
    """
    if not levels:
        raise ValueError(f"{path} has image files, and the data are continuous: save floats as .npy or .npz.")
    rows = found.rows
    assert isinstance(rows, ImageFiles), "image files are read by name"
    seen, sizes, colour, looked = _Seen(), dict[tuple[int, int], str](), False, list[str]()
    for name, content in _contents(rows):
        seen.add([content.content])
        try:
            with opened(content) as file:
                grey = file.mode in _GREY
                sizes.setdefault((file.height, file.width), name)
                if levels > 256 or not is_plain(file, content, 1 if grey else 3):
                    looked.append(name)
        except UnreadableError as error:
            raise ValueError(
                f"{rows.place.where(name)} cannot be read: {error}. Take such files out."
            ) from error
        colour = colour or not grey
        if len(sizes) > 1:
            (first, one), (second, other) = ((f"{h}x{w}", rows.place.where(n)) for (h, w), n in sizes.items())
            raise ValueError(
                f"images of a set are of one size, and {one} is {first}, {other} {second} (height x width): bring "
                f"all to one by the program that made them."
            )
    ((height, width),) = sizes
    reader = ImageReader((3 if colour else 1, height, width), Fitting(resize=False, convert=False), levels)
    for name in looked:
        if reason := reader.refusal(rows.place.file(name)):
            raise ValueError(f"{rows.place.where(name)} {reason}: save it as a plain PNG, or take it out.")
    read: Rows = replace(rows, reader=reader)
    if levels not in (256, 65536):  # of which files have other values
        read = Checked(read, CheckLevels(str(path), levels))
    return replace(found, rows=read), seen.copies


def _contents(rows: ImageFiles) -> Iterator[tuple[str, InArchive]]:
    with Progress("reading", len(rows.names), "image") as bar:
        for name in rows.names:
            yield name, _content(rows, name)
            bar.add()


def _content(rows: ImageFiles, name: str) -> InArchive:
    try:
        with rows.place.file(name).open("rb") as stream:
            return InArchive(stream.read())
    except UnreadableError as error:
        raise ValueError(f"{rows.place.where(name)} cannot be read: {error}. Take such files out.") from error
