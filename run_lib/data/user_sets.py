"""Data sets of torch's protocol, torchvision's and a user's own: items by their index, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from run_lib.data.labels import no_labels
from run_lib.data.listing import announce
from run_lib.data.rows import Indices, Rows
from run_lib.data.split import Split

LABELS = ("targets", "labels", "_labels")
"""Attributes in which torchvision's data sets have the classes of all items."""


@dataclass(frozen=True)
class Items(Rows):
    """The samples of a data set of torch's protocol: tensors or arrays (C, ...), or Pillow's images.

    Attributes:
        items: the data set.
        kind: its first sample, which all others are like.
    """

    items: Any
    kind: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.kind.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.kind.dtype

    def __len__(self) -> int:
        return len(self.items)

    def read(self, indices: Indices) -> Tensor:
        wanted = np.asarray(indices).tolist()
        found = [_sample(self.items[index]) for index in wanted]
        for index, sample in zip(wanted, found, strict=True):
            if sample.shape != self.kind.shape or sample.dtype != self.kind.dtype:
                raise ValueError(
                    f"{_name(self.items)}'s sample {index} is {sample.dtype} of shape {tuple(sample.shape)}, and "
                    f"its first is {self.kind.dtype} of shape {self.shape}: all must be of one shape and type."
                )
        return torch.stack(found)


def as_split(found: Any, *, labelled: bool = False) -> Split:
    """What a data set's function has returned, as a split.

    Args:
        found: a ``Split``, ``Arrays``, or a data set of torch's protocol: ``len`` and items by their index, each a
            sample or a pair of a sample and its class.
        labelled: whether the classes are needed; then they are read, where no attribute has them all.
    """
    if hasattr(found, "as_split"):
        split: Split = found.as_split()
        return split
    return _split_of(found, labelled=labelled)


def _split_of(items: Any, *, labelled: bool) -> Split:
    """A data set of torch's protocol as a split.

    Args:
        items: has ``len``, and by its index a sample or a pair of a sample and its class. The classes of all are
            taken from an attribute ``targets`` or ``labels``, their names from ``classes``, where it has these.
        labelled: whether classes are needed: then, without the attribute, every item is read once for its class.

    Raises:
        ValueError: it is no such data set, it is empty, or its samples are no arrays.
    """
    if not (hasattr(items, "__len__") and hasattr(items, "__getitem__")):
        raise ValueError(
            f"a data set returns Arrays, a Split or a torch Dataset that has a length; got {_name(items)}."
        )
    if not len(items):
        raise ValueError(
            f"{_name(items)} is empty: it must hold a sample at least; look at data.root and the split."
        )
    rows = Items(items, _sample(items[0]))
    held = next((getattr(items, name) for name in LABELS if hasattr(items, name)), None)
    names = tuple(map(str, getattr(items, "classes", ())))
    if held is not None:
        labels = torch.as_tensor(np.asarray(held), dtype=torch.int64)
        if labels.shape != (len(items),):
            raise ValueError(
                f"{_name(items)} has {len(items)} items and classes of shape {tuple(labels.shape)}: give "
                f"one integer an item."
            )
        return Split(rows, labels, names)
    if not (labelled and _is_pair(items[0])):
        return Split(rows, no_labels(len(items)))
    announce(
        f"reading the classes of all {len(items)} items of {_name(items)}; an attribute 'targets' would save it"
    )
    return Split(rows, torch.tensor([int(items[index][1]) for index in range(len(items))]), names)


def _name(items: Any) -> str:
    return type(items).__name__


def _is_pair(item: Any) -> bool:
    return isinstance(item, Sequence) and len(item) > 1


def _sample(item: Any) -> Tensor:
    sample = item[0] if _is_pair(item) else item
    if isinstance(sample, Image.Image):
        pixels = np.array(sample)  # a copy: PyTorch warns of arrays that may not be written to
        sample = np.atleast_3d(pixels).transpose(2, 0, 1)
    if isinstance(sample, Tensor):
        return sample
    if not isinstance(sample, np.ndarray):
        raise ValueError(
            f"a sample of a data set is a tensor, an array or an image of Pillow's, not {type(sample).__name__}."
        )
    return torch.from_numpy(np.ascontiguousarray(sample))
