"""A split of a data set: rows that can be read by their index, the class of each, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from run_lib.data.latents import Coding
from run_lib.data.rows import Indices, InMemory, Picked, Rows
from sde_lib.densities import Density


class MissingSplitError(ValueError):
    """A data set that is there, without the split that is asked for."""


@dataclass(frozen=True)
class Arrays:
    """Samples in memory, with the class of each.

    Attributes:
        images: integer levels (N, C, H, W), of 8 bits as a rule; or continuous data (N, ...).
        labels: classes (N,), ``NO_LABEL`` where one is not known.
        classes: their names, in the order of the labels; empty: they have none.
        density: that the samples are drawn from, where it is known.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...] = ()
    density: Density | None = None

    def __len__(self) -> int:
        return len(self.images)

    def as_split(self) -> Split:
        """The same as a split, which reads from memory."""
        return Split(InMemory(self.images), self.labels, self.classes, density=self.density)


@dataclass(frozen=True)
class Split:
    """Samples that are read as they are needed, with the class of each.

    Attributes:
        rows: the samples.
        labels: classes (N,), ``NO_LABEL`` where one is not known.
        classes: their names, in the order of the labels; empty: they have none.
        strange: how many of the last of them the training split lacks.
        left_out: how many files are not among the rows, by the reason.
        density: that the samples are drawn from, where it is known.
        coding: what their file says of latents; None: it says of none.
    """

    rows: Rows
    labels: Tensor
    classes: tuple[str, ...] = ()
    strange: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    density: Density | None = None
    coding: Coding | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def as_split(self) -> Split:
        """Itself."""
        return self

    def read(self, indices: Indices) -> Arrays:
        """The samples of the given indices.

        Raises:
            ValueError: some cannot be read, or hold values that the data cannot have.
        """
        return Arrays(self.rows.read(indices), self.labels[torch.as_tensor(indices)], self.classes)

    @property
    def images(self) -> Tensor:
        """All samples, in memory: for what looks at a split as a whole."""
        whole = self.rows.whole
        if whole is None:
            whole = torch.empty((len(self), *self.rows.shape), dtype=self.rows.dtype)
            for some, images in self.rows.chunks():
                whole[some.start : some.stop] = images
        return whole

    def picked(self, indices: np.ndarray) -> Split:
        """Some of them, their classes numbered as before."""
        return replace(self, rows=Picked(self.rows, indices), labels=self.labels[torch.from_numpy(indices)])
