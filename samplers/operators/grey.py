"""The grey image of a colour image (colorization)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from samplers.operators.base import LinearOperator, register_operator


@dataclass(frozen=True)
class Grey(LinearOperator):
    """A x = the mean over the channels: (B, C, ...) to (B, 1, ...); A A^T = 1 / C.

    Replacing the mean leaves what is orthogonal to it alone. That is score_sde's decoupling, an orthogonal
    matrix over the channels whose first column is constant, with its first coordinate replaced: the other
    columns never matter.

    Args:
        channels: C of the samples.

    Raises:
        ValueError: fewer than 2 channels.
    """

    channels: int = 3

    def __post_init__(self) -> None:
        if self.channels < 2:
            raise ValueError(f"a grey image is of 2 channels or more, got {self.channels}.")

    @property
    def gain(self) -> float | None:
        return 1 / self.channels

    def apply(self, x: Tensor) -> Tensor:
        if x.shape[1] != self.channels:
            raise ValueError(
                f"grey images of {self.channels} channels were asked for, but the samples have {x.shape[1]}."
            )
        return x.mean(1, keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        return (y / self.channels).expand(-1, self.channels, *y.shape[2:])


@register_operator(name="grey")
def grey(shape: Sequence[int]) -> Grey:
    """The grey image of a colour image: the mean over its channels.

    Args:
        shape: shape of a sample, (C, ...).
    """
    return Grey(shape[0])
