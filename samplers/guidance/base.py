"""What guided models have in common."""

from __future__ import annotations

import abc
from typing import Annotated, TypeAlias

from torch import Tensor

from models.prediction.noise_model import Model
from samplers.guidance.interval import Bounds, Interval
from sde_lib.needs import GivenProcess
from sde_lib.settings import Range, checked

Scale: TypeAlias = Annotated[float, Range(words="guidance's scale is a finite number, got {value}.")]
"""The strength of guidance."""


class Guided(Model[GivenProcess], abc.ABC):
    """A model that changes the predictions of another one.

    Args:
        model: the model that is guided, which may be a guided model itself.
        scale: strength of the guidance; 0 leaves the unguided model.
        interval: values (low, high) of sigma/alpha between which the model is guided; None: everywhere.

    Raises:
        ValueError: a scale that is not finite, an interval with low >= high, or one for a process without noise levels.
    """

    @checked
    def __init__(self, model: Model[GivenProcess], scale: Scale, interval: Bounds | None) -> None:
        super().__init__()
        self.model, self.process, self.scale = model, model.process, float(scale)
        self.interval = None if interval is None else Interval.of(interval)
        if self.interval is not None:
            self.interval.check(self.process)

    @property
    def nfe(self) -> int:
        """Evaluations of the guided network; those of a classifier or of a user's function are not in it."""
        return self.model.nfe

    def inside(self, t: Tensor) -> Tensor | None:
        """Whether each time (B,) is in the interval; None: all are."""
        return None if self.interval is None else self.interval.holds(self.process, t)


def rows(mask: Tensor, x: Tensor) -> Tensor:
    """A mask (B,) shaped to choose samples of ``x``."""
    return mask.reshape(-1, *(1,) * (x.ndim - 1))
