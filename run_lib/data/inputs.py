"""Images to be edited: the files of a folder, an ``.npz`` or a split of the data set, read one at a time."""

from __future__ import annotations

import abc
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from run_lib.data.archives import read_archive
from run_lib.data.forms import UnreadableError
from run_lib.data.images import CONVERSION, Fitting, ImageReader
from run_lib.data.labels import NO_LABEL
from run_lib.data.levels import DataSpec
from run_lib.data.listing import SUFFIXES, announce, left_out_sentence, list_images, what_was_read
from run_lib.data.split import Split
from run_lib.fingerprint import of_arrays, of_files
from sde_lib.words import listed

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Skipped:
    """An image that was left out, and why."""

    image: str
    reason: str


class Inputs(abc.ABC):
    """Images in a fixed order, read one at a time.

    Attributes:
        names: the images' names, of unreadable ones too. In a folder they are paths relative to it.
    """

    names: Sequence[str]

    @abc.abstractmethod
    def read(self, index: int) -> Tensor:
        """The image in the network's range, (C, H, W); of a network of latents in [-1, 1].

        Raises:
            UnreadableError: it cannot be read.
        """

    def label(self, index: int) -> int:
        """The image's class, or ``NO_LABEL`` where it is not known."""
        return NO_LABEL

    def fingerprint(self, index: int) -> str:
        """A hash of the image's content, and of its class; of an unreadable one, of nothing."""
        try:
            return of_arrays(self.read(index), torch.tensor(self.label(index)))
        except UnreadableError:
            return ""

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class SplitInputs(Inputs):
    """Samples of a split of data.

    The classes get the network's numbers when they are asked for: its weights, which know them, may be loaded later.
    """

    names: Sequence[str]
    split: Split
    data: DataSpec

    def read(self, index: int) -> Tensor:
        return self.data.shown.at_levels(self.split.read(range(index, index + 1)).images)[0]

    def label(self, index: int) -> int:
        one = replace(self.split, labels=self.split.labels[index : index + 1])
        return int(self.data.numbering.number(one, "the input", labelled=self.data.labelled).labels[0])


@dataclass(frozen=True)
class FolderInputs(Inputs):
    """Image files below a folder. Their values become intensities, whatever the number of the data's levels."""

    folder: Path
    names: Sequence[str]
    data: DataSpec
    reader: ImageReader

    def read(self, index: int) -> Tensor:
        pixels = self.reader.read(self.folder / self.names[index])
        return self.data.from_intensity(torch.from_numpy(pixels / self.reader.white).float())

    def fingerprint(self, index: int) -> str:
        return of_files([self.folder / self.names[index]])


def check_images(data: DataSpec, field: str) -> None:
    """Refuse data that are no images, for work on images.

    Raises:
        ValueError: samples of another shape than (1, H, W) or (3, H, W).
    """
    if len(data.shape) != 3 or data.shape[0] not in (1, 3):
        raise ValueError(
            f"{field} takes images with 1 or 3 channels, and this configuration's data have the shape "
            f"{data.shape}."
        )


def open_inputs(
    source: str,
    field: str,
    data: DataSpec,
    fitting: Fitting,
    most: int = 0,
    device: torch.device = CPU,
) -> Inputs:
    """The images that ``source`` names. Of image files only the headers are read here.

    Args:
        source: "test" or "train", or the path of a folder or of an ``.npz`` with ``arr_0`` (and classes in
            ``arr_1``).
        field: the setting that names the source, for messages.
        data: the data that the network was trained on; if they are latents, of which images are given.
        fitting: what may be done to image files of another size or other channels.
        most: how many of the images are taken, from the first on; 0 takes all.
        device: on which a split of latents is decoded.

    Raises:
        ValueError: there are no images, or images that are not of the data's shape.
    """
    shown = data.shown
    check_images(shown, field)
    path = Path(source)
    if source in ("test", "train"):
        return _of_split(data.as_shown(data.load(source), device), data, most)
    if path.is_dir():
        return _folder(path, field, shown, fitting, most)
    if path.suffix == ".npz" and path.is_file():
        return _of_split(_archive(path, field, shown), data, most)
    raise ValueError(
        f"{field}={source!r} is neither 'test' nor 'train', nor a folder of images, nor an .npz that exists."
    )


def _of_split(split: Split, data: DataSpec, most: int) -> SplitInputs:
    count = min(most or len(split), len(split))
    return SplitInputs([f"{index:05d}" for index in range(count)], split, data)


def _archive(path: Path, field: str, data: DataSpec) -> Split:
    found = read_archive(path, f"{field}={path}", data.shape, data.levels).as_split()
    if found.rows.shape != data.shape:
        raise ValueError(
            f"{field}={path}: arr_0 has the shape {(len(found), *found.rows.shape)}, and the data are images of "
            f"{data.shape}: give (N, C, H, W) or (N, H, W, C) of that size."
        )
    announce(what_was_read(f"{field}={path}", found))
    return found


def _folder(path: Path, field: str, data: DataSpec, fitting: Fitting, most: int) -> FolderInputs:
    reader = ImageReader(data.shape, fitting, data.levels)
    listing = list_images(path)
    others = left_out_sentence(listing.left_out)
    # By their whole names: the place of an image among all decides the stream of its noise.
    found = sorted(listing.names)
    if not found:
        suffixes = ", ".join(sorted(SUFFIXES))
        raise ValueError(
            f"there are no images in {field}={path}: no file of {suffixes} there or below"
            f"{f'; {others}' if others else ''}."
        )
    names = found[: most or None]
    unreadable, wrong = [], []
    for name in names:
        try:
            reason = reader.refusal(path / name)
        except UnreadableError as error:  # reading will find the same, and list it
            unreadable.append(f"{name}: {error}")
            continue
        if reason:
            wrong.append(f"{name} {reason}")
    if wrong:
        section = field.rpartition(".")[0]
        raise ValueError(
            f"{field}={path} holds images that are not of the data's shape {data.shape}: {listed(wrong, 3, '; ')}. "
            f"--{section}.resize cuts the largest centred box and resizes it, --{section}.convert {CONVERSION}; "
            f"or take those files out."
        )
    if len(unreadable) == len(names):
        raise ValueError(
            f"none of the {len(names)} image files in {field}={path} can be read: {unreadable[0]}"
        )
    taken = f" (the first {len(names)} of {len(found)})" if len(names) < len(found) else ""
    announce(f"{field}={path}: {len(names)} images{taken}; {others or 'no file left out'}")
    return FolderInputs(path, names, data, reader)


def image_labels(
    num_classes: int, inputs: Inputs, rows: Sequence[int], section: str, label: int | None
) -> Tensor:
    """Class labels of the images in the given rows: ``label`` for all of them, or the images' own.

    Raises:
        ValueError: the network needs labels and they are not known, or it takes none and one is given.
    """
    if label is not None and not num_classes:
        raise ValueError(f"{section}.label is set, but the network is told no class; leave it unset.")
    labels = torch.tensor([inputs.label(row) if label is None else label for row in rows])
    if num_classes and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f"the network is told one of {num_classes} classes, and those of the images are not known or out "
            f"of range: set --{section}.label=0 to {num_classes - 1}, the class of all."
        )
    return labels


def output_names(names: Sequence[str]) -> list[str]:
    """The PNG that belongs to each image: its name with .png in place of the suffix, or after it where names clash."""
    plain = [str(PurePosixPath(name).with_suffix(".png")) if "." in name else f"{name}.png" for name in names]
    count = Counter(plain)
    return [p if count[p] == 1 else f"{name}.png" for p, name in zip(plain, names, strict=True)]


@dataclass(frozen=True)
class Loaded:
    """Some images, as far as they could be read.

    Attributes:
        rows: the rows of those that could be read.
        images: these images, (B, C, H, W), on the CPU.
        skipped: the others.
    """

    rows: list[int]
    images: Tensor
    skipped: list[Skipped]


def load(inputs: Inputs, rows: Sequence[int]) -> Loaded:
    """Read the images of the given rows."""
    kept, images, skipped = [], [], []
    for row in rows:
        try:
            images.append(inputs.read(row))
            kept.append(row)
        except UnreadableError as error:
            skipped.append(Skipped(inputs.names[row], str(error)))
    return Loaded(kept, torch.stack(images) if images else torch.empty(0), skipped)


def report_skipped(skipped: Sequence[Skipped], total: int) -> None:
    """List the images that could not be read, and exit with status 1 if there are any.

    Raises:
        SystemExit: an image could not be read.
    """
    if skipped:
        print(
            f"warning: {len(skipped)} of {total} images could not be read and were skipped:", file=sys.stderr
        )
        for one in skipped:
            print(f"  {one.image}: {one.reason}", file=sys.stderr)
        raise SystemExit(1)
