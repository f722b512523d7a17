"""Class labels of images: taken from folders, drawn in turn, checked, or missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import torch
from torch import Tensor

NO_LABEL = -1
"""The label of an image whose class is not known."""


def no_labels(count: int) -> Tensor:
    """Labels of ``count`` images whose classes are not known."""
    return torch.full((count,), NO_LABEL)


def folder_labels(names: Sequence[str]) -> Tensor:
    """Classes of files by the folders that hold them, numbered in the order of the folders' names.

    Args:
        names: paths relative to the folder of all. A file that lies in no subfolder has no class.
    """
    folders = [PurePosixPath(name).parent.name for name in names]
    classes = {folder: label for label, folder in enumerate(sorted({*folders} - {""}))}
    return torch.tensor([classes.get(folder, NO_LABEL) for folder in folders])


def draw_labels(count: int, num_classes: int, first: int) -> Tensor:
    """Class labels of the samples ``first`` to ``first + count``: every class in turn."""
    return torch.arange(first, first + count) % num_classes


def check_labels(labels: Tensor, num_classes: int, where: str) -> None:
    """Refuse labels that are not one of ``num_classes``; a network of no classes takes any.

    Raises:
        ValueError: labels are missing (below 0) or too large.
    """
    if not num_classes:
        return
    if int(labels.min()) < 0:
        raise ValueError(
            f"{where} has no class labels, and the network of model.num_classes={num_classes} needs them; set "
            f"model.num_classes=0, or give labels (a subfolder for each class, arr_1 in an .npz)."
        )
    if int(labels.max()) >= num_classes:
        raise ValueError(
            f"{where} has class labels up to {int(labels.max())}, out of range for model.num_classes={num_classes}; "
            f"set it to at least {int(labels.max()) + 1}."
        )
