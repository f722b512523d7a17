"""Class labels of images: drawn in turn, checked, or missing."""

from __future__ import annotations

import torch
from torch import Tensor

NO_LABEL = -1
"""The label of an image whose class is not known."""


def no_labels(count: int) -> Tensor:
    """Labels of ``count`` images whose classes are not known."""
    return torch.full((count,), NO_LABEL)


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
