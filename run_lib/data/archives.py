"""``.npz`` archives of images: ``arr_0``, and their classes in ``arr_1``, as ADM's programs and ours write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from run_lib.data.labels import no_labels
from run_lib.data.layouts import has_channels_last
from run_lib.data.packed import PackedError, read_arrays
from run_lib.data.split import Arrays


def read_archive(path: Path, where: str, shape: tuple[int, ...], levels: int) -> Arrays:
    """The images and labels of an archive, channels first. The caller checks the size of the images.

    Args:
        path: of the archive.
        where: the setting that names it and its value, for messages.
        shape: (C, H, W) of the images that are wanted. An array whose shape is (N, H, W, C), or another than theirs
            with C entries in its last axis, has the channels last.
        levels: number of values of a pixel; 0 for continuous data.

    Raises:
        ValueError: it is no such archive or empty, its values are not levels of the data, or its labels are not
            as many as its images.
    """
    try:
        held = read_arrays(path, ("arr_0",), optional=("arr_1",))
    except (OSError, PackedError) as error:
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else error
        raise ValueError(f"{where} is no .npz with arr_0: it {reason}.") from error
    images, labels = held["arr_0"], held.get("arr_1")
    if images.ndim == 0 or not images.size:
        raise ValueError(
            f"{where}: arr_0 has the shape {images.shape}, which holds no images: save them as "
            f"(N, H, W, C) or (N, C, H, W)."
        )
    _check_values(images, levels, where)
    if labels is not None:
        if labels.ndim != 1 or labels.dtype.kind not in "iuf":
            raise ValueError(
                f"{where}: arr_1 is {labels.dtype} of shape {labels.shape}; labels are integers (N,)."
            )
        if len(labels) != len(images):
            raise ValueError(f"{where} has {len(images)} images and {len(labels)} labels: save one each.")
        labels = labels.astype(np.int64)
    if has_channels_last(images.shape[1:], shape):
        images = images.transpose(0, 3, 1, 2)
    found = torch.from_numpy(images)
    return Arrays(found, no_labels(len(images)) if labels is None else torch.from_numpy(labels))


def _check_values(images: np.ndarray, levels: int, where: str) -> None:
    if images.dtype.kind not in ("iu" if levels else "f"):
        wanted = f"levels 0 to {levels - 1} as integers" if levels else "floats in the data's range"
        raise ValueError(
            f"{where}: arr_0 is {images.dtype}, and the data are {wanted}: save these, or set data.levels."
        )
    if not levels:
        return
    least, most = int(images.min()), int(images.max())
    if not 0 <= least <= most < levels:
        span = f"from {least} to {most}" if least < 0 else f"up to {most}"
        raise ValueError(
            f"{where} has values {span}, and data.levels={levels} allow 0 to {levels - 1}: "
            f"save others, or set data.levels."
        )
