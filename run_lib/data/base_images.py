"""Small images from which a super-resolution network samples large ones."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from run_lib.data.archives import read_archive
from run_lib.data.folders import read_files
from run_lib.data.images import TRAINING_FILES, Fitting, ImageReader
from run_lib.data.labels import check_labels
from run_lib.data.levels import Arrays, DataSpec


@dataclass(frozen=True)
class BaseImages:
    """The small image of each sample, in the network's range. When they run out they begin again.

    Args:
        path: an ``.npz`` with ``arr_0``, uint8 (N, C, h, w) or (N, h, w, C), and for classes their labels in
            ``arr_1``: the samples of another model, ours or improved-diffusion's. Or a folder of PNG and JPEG
            files, in which each subfolder is a class. Empty takes the test images, made smaller.
        data: the data set of the large images.
        size: (h, w) of the small images.
        num_classes: number of classes of the network, 0 for none.
    """

    path: str
    data: DataSpec
    size: tuple[int, ...]
    num_classes: int

    def all(self) -> Arrays:
        """All of the small images, each once."""
        return _load(self)

    def of(self, indices: Sequence[int]) -> Arrays:
        """The small images and labels for the samples of the given indices."""
        held = _load(self)
        rows = torch.as_tensor(list(indices)) % len(held)
        return Arrays(held.images[rows], held.labels[rows])


@functools.lru_cache(maxsize=4)
def _load(base: BaseImages) -> Arrays:
    """All of them.

    Raises:
        ValueError: there are none, or their size, channels, values or labels are not those that are needed.
    """
    if not base.path:
        test = base.data.load("test")
        return Arrays(F.interpolate(base.data.at_levels(test.images), base.size, mode="area"), test.labels)
    path, wanted = Path(base.path), (base.data.shape[0], *base.size)
    where = f"sampling.base_samples={base.path}"
    found = (
        _folder(path, where, wanted, base.data)
        if path.is_dir()
        else read_archive(path, where, wanted, base.data.levels)
    )
    if tuple(found.images.shape[1:]) != wanted:
        raise ValueError(
            f"{where} holds images of {tuple(found.images.shape[1:])} but the network was trained on "
            f"{wanted}; {_OTHER_SIZES}"
        )
    check_labels(found.labels, base.num_classes, where)
    return Arrays(base.data.at_levels(found.images), found.labels)


_OTHER_SIZES = "give images of that size, or set data.low_res_size and data.num_channels to theirs."


def _folder(path: Path, where: str, wanted: tuple[int, ...], data: DataSpec) -> Arrays:
    reader = ImageReader(wanted, Fitting(resize=False, convert=True), TRAINING_FILES)
    names = reader.names(path)
    if not names:
        raise ValueError(f"there are no PNG or JPEG files in {where}.")
    if data.levels != 256:
        raise ValueError(
            f"image files have 256 levels and the data {data.levels}; give base samples as an .npz."
        )
    return read_files(path, names, reader, f" The network was trained on {wanted}; {_OTHER_SIZES}")
