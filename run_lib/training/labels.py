"""Class labels: those requested of samples, and label dropout in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from run_lib.data.classes import UNKNOWN, Numbering
from sde_lib.noise import Noise


@dataclass(frozen=True)
class RequestedClasses:
    """The class requested of each sample: sample k is to be of class ``labels[k % len(labels)]``.

    Without labels there are no classes, and the object is false.

    Attributes:
        num_classes: number of classes of the network, or of the classifier that guides it.
        labels: class labels or names of classes, taken in turn.
        numbering: of the classes by name.
    """

    num_classes: int = 0
    labels: tuple[int | str, ...] = ()
    numbering: Numbering = UNKNOWN

    def __bool__(self) -> bool:
        return bool(self.labels)

    def of(self, indices: Sequence[int]) -> Tensor:
        """Class labels (B,) of the samples with the given global indices.

        Raises:
            ValueError: no class of the network has a name that is asked for.
        """
        labels = [self.numbering.label(one) if isinstance(one, str) else one for one in self.labels]
        return torch.tensor(labels)[torch.as_tensor(list(indices)) % len(self.labels)]


@dataclass(frozen=True)
class LabelDropout:
    """Replaces training labels by the null label at random (Ho & Salimans 2021, algorithm 1).

    Attributes:
        share: probability with which each label is replaced, independently of the others; in [0, 1).
        null_label: the label that stands for no class.
    """

    share: float = 0.0
    null_label: int = 0

    def __call__(self, labels: Tensor, noise: Noise) -> Tensor:
        """The labels (B,) that a training step sees. The choice is drawn from each sample's own random stream."""
        if not self.share:
            return labels
        dropped = noise.uniform((len(labels), 1))[:, 0] < self.share
        labels = labels.to(dropped.device)
        return torch.where(dropped, torch.full_like(labels, self.null_label), labels)
