"""Small images from which a super-resolution network samples large ones."""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from run_lib.data.labels import check_labels
from run_lib.data.levels import Arrays, DataSpec


@dataclass(frozen=True)
class BaseImages:
    """Small images in the network's range, by the index of the sample that is made of each; they repeat.

    Args:
        path: an .npz with ``arr_0``, uint8 (N, C, h, w) or (N, h, w, C), and for classes ``arr_1``, their
        labels:
            the samples of another model, ours or improved-diffusion's; or a folder of PNG and JPEG files,
            each of
            whose subfolders is a class. Empty: the test images, made smaller.
        data: what the large images are.
        size: (h, w).
        num_classes: 0 for none.
    """

    path: str
    data: DataSpec
    size: tuple[int, ...]
    num_classes: int

    def of(self, indices: Sequence[int]) -> Arrays:
        """The images and labels for samples of the given indices."""
        held = _load(self)
        rows = torch.as_tensor(list(indices)) % len(held)
        return Arrays(held.images[rows], held.labels[rows])


@functools.lru_cache(maxsize=4)
def _load(base: BaseImages) -> Arrays:
    """All of them.

    Raises:
        ValueError: nothing there, another size or number of channels, values or labels out of range.
    """
    if not base.path:
        test = base.data.load("test")
        return Arrays(F.interpolate(base.data.at_levels(test.images), base.size, mode="area"), test.labels)
    path, wanted = Path(base.path), (base.data.shape[0], *base.size)
    where = f"sampling.base_samples={base.path}"
    found = _folder(path, base) if path.is_dir() else _archive(path, where, wanted[0])
    if tuple(found.images.shape[1:]) != wanted:
        raise ValueError(
            f"{where} holds images of {tuple(found.images.shape[1:])} but the network was trained on "
            f"{wanted}; give images of that size, or set data.low_res_size and data.num_channels to theirs."
        )
    if base.data.levels and int(found.images.max()) >= base.data.levels:
        raise ValueError(
            f"{where} has values up to {int(found.images.max())}, more than "
            f"data.levels={base.data.levels} allow."
        )
    check_labels(found.labels, base.num_classes, where)
    return Arrays(base.data.at_levels(found.images), found.labels)


def _archive(path: Path, where: str, channels: int) -> Arrays:
    try:
        with np.load(path) as held:
            images = torch.from_numpy(np.asarray(held["arr_0"]))
            labels = torch.from_numpy(held["arr_1"]).long() if "arr_1" in held else None
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{where} is neither a folder nor an .npz with arr_0: {error}") from error
    if images.ndim != 4 or images.is_floating_point():
        raise ValueError(
            f"{where}: arr_0 is {images.dtype} of {tuple(images.shape)}; expected uint8 images (N, C, h, w)."
        )
    if images.shape[1] != channels and images.shape[-1] == channels:
        images = images.permute(0, 3, 1, 2)
    labels = torch.full((len(images),), -1) if labels is None else labels
    if len(labels) != len(images):
        raise ValueError(f"{where} has {len(images)} images and {len(labels)} labels.")
    return Arrays(images, labels)


def _folder(path: Path, base: BaseImages) -> Arrays:
    from PIL import Image

    files = sorted(p for p in path.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not files:
        raise ValueError(f"there are no PNG or JPEG files in sampling.base_samples={path}.")
    if base.data.levels != 256:
        raise ValueError(
            f"image files have 256 levels and the data {base.data.levels}; give base samples as an .npz."
        )
    mode = "L" if base.data.shape[0] == 1 else "RGB"
    pixels = []
    for file in files:
        with Image.open(file) as image:
            pixels.append(np.atleast_3d(np.asarray(image.convert(mode))).transpose(2, 0, 1))
    sizes = {p.shape for p in pixels}
    if len(sizes) > 1:
        raise ValueError(
            f"the images in sampling.base_samples={path} are of several sizes: {sorted(sizes)[:4]}."
        )
    names = [file.parent.name if file.parent != path else "" for file in files]
    classes = {name: label for label, name in enumerate(sorted(set(names)))}
    labels = [classes[name] if len(classes) > 1 else -1 for name in names]
    return Arrays(torch.from_numpy(np.stack(pixels)), torch.tensor(labels))
