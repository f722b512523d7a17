"""Small images from which a super-resolution network samples large ones."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from run_lib.data.archives import read_archive
from run_lib.data.folders import image_files
from run_lib.data.images import Fitting, ImageReader
from run_lib.data.labels import check_labels
from run_lib.data.levels import DataSpec
from run_lib.data.listing import announce, left_out_sentence, list_images, what_was_read
from run_lib.data.places import Folder
from run_lib.data.rows import InMemory
from run_lib.data.split import Arrays, Split


@dataclass(frozen=True)
class BaseImages:
    """The small image of each sample, in the network's range. When they run out they begin again.

    Args:
        path: an ``.npz`` with ``arr_0``, uint8 (N, C, h, w) or (N, h, w, C), and for classes their labels in
            ``arr_1``: the samples of another model, ours or improved-diffusion's. Or a folder of image files, in
            which each subfolder is a class. Empty takes the test images, made smaller.
        data: the data set of the large images.
        size: (h, w) of the small images.
        num_classes: number of classes of the network, 0 for none.
        convert: whether image files are read that are not exactly of the data's form.
    """

    path: str
    data: DataSpec
    size: tuple[int, ...]
    num_classes: int
    convert: bool = False

    def all(self) -> Split:
        """All of the small images, each once."""
        return _load(self)

    def of(self, indices: Sequence[int]) -> Arrays:
        """The small images and labels for the samples of the given indices."""
        where = f"sampling.base_samples={self.path}" if self.path else "the test split"
        held = self.data.numbering.number(_load(self), where, labelled=self.num_classes > 0)
        check_labels(held.labels, self.num_classes, where)
        return held.read([index % len(held) for index in indices])


@functools.lru_cache(maxsize=4)
def _load(base: BaseImages) -> Split:
    """All of them, in memory.

    Raises:
        ValueError: there are none, or their size, channels or values are not those that are needed.
    """
    if not base.path:
        test = base.data.load("test")
        return _of(test, F.interpolate(base.data.at_levels(test.images), base.size, mode="area"))
    path, wanted = Path(base.path), (base.data.shape[0], *base.size)
    where = f"sampling.base_samples={base.path}"
    found = (
        _folder(path, where, wanted, base)
        if path.is_dir()
        else read_archive(path, where, wanted, base.data.levels).as_split()
    )
    if found.rows.shape != wanted:
        raise ValueError(
            f"{where} holds images of {found.rows.shape} but the network was trained on "
            f"{wanted}; {_OTHER_SIZES}"
        )
    images = base.data.at_levels(found.images)
    announce(what_was_read(where, found))
    return _of(found, images)


def _of(split: Split, images: Tensor) -> Split:
    return replace(split, rows=InMemory(images))


_OTHER_SIZES = "give images of that size, or set data.low_res_size and data.num_channels to theirs."


def _folder(path: Path, where: str, wanted: tuple[int, ...], base: BaseImages) -> Split:
    data = base.data
    reader = ImageReader(wanted, Fitting(resize=False, convert=base.convert), data.levels)
    listing = list_images(path)
    if not listing.names:
        others = left_out_sentence(listing.left_out)
        raise ValueError(f"there are no images in {where}{f': {others}' if others else ''}.")
    if data.levels not in (256, 65536):
        raise ValueError(
            f"image files have 256 levels or 65536, and the data {data.levels}; give base samples as an .npz."
        )
    hint = f" The network was trained on {wanted}; {_OTHER_SIZES}"
    return image_files(listing, Folder(path), reader, hint=hint)
