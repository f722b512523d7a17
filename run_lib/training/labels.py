"""The classes that samples are asked for, and the labels that training withholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sde_lib.noise import Noise


@dataclass(frozen=True)
class Asked:
    """Sample k is asked to be of class ``labels[k]``, which repeat; without labels there are no classes.

    Attributes:
        num_classes: of the network or of the classifier that guides it.
        labels: asked for in turn.
    """

    num_classes: int = 0
    labels: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.labels)

    def of(self, indices: Sequence[int]) -> Tensor:
        """Labels of the samples of the given global indices, (B,)."""
        return torch.tensor(self.labels)[torch.as_tensor(list(indices)) % len(self.labels)]


@dataclass(frozen=True)
class LabelDropout:
    """Training labels of which a share is replaced by the label that stands for none (Ho & Salimans 2021,
    algorithm 1).

    Attributes:
        share: probability of each label, independently.
        null_label: what replaces it.
    """

    share: float = 0.0
    null_label: int = 0

    def __call__(self, labels: Tensor, noise: Noise) -> Tensor:
        """The labels (B,) that a training step sees; the choice is a draw of the samples' streams."""
        if not self.share:
            return labels
        dropped = noise.uniform((len(labels), 1))[:, 0] < self.share
        labels = labels.to(dropped.device)
        return torch.where(dropped, torch.full_like(labels, self.null_label), labels)
