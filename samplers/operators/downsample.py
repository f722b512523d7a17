"""Means of blocks (super-resolution)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from samplers.operators.base import LinearOperator, register_operator
from sde_lib.settings import Range, check_settings, checked


@dataclass(frozen=True)
class Downsample(LinearOperator):
    """A x = the means of blocks of ``factor`` by ``factor`` pixels; A A^T = 1 / factor^2.

    (B, C, H, W) to (B, C, H / factor, W / factor); the pseudo-inverse repeats pixels.

    Args:
        factor: side of a block, in pixels.

    Raises:
        ValueError: a factor below 1, or one that does not divide height and width.
    """

    factor: Annotated[int, Range(least=1)]

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def gain(self) -> float | None:
        return 1 / self.factor**2

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse heights and widths that the factor does not divide."""
        if shape[-2] % self.factor or shape[-1] % self.factor:
            raise ValueError(
                f"down-sampling by {self.factor} does not divide an image of {shape[-2]} x {shape[-1]}; "
                "choose a factor that divides both."
            )

    def apply(self, x: Tensor) -> Tensor:
        self.check_shape(x.shape)
        blocks: Tensor = x.unflatten(-1, (-1, self.factor)).unflatten(-3, (-1, self.factor))
        return blocks.mean((-3, -1))

    def adjoint(self, y: Tensor) -> Tensor:
        repeated = y.repeat_interleave(self.factor, -1).repeat_interleave(self.factor, -2)
        return repeated / self.factor**2


@register_operator(name="downsample")
@checked
def downsample(shape: Sequence[int], *, factor: Annotated[int, Range(least=1)] = 2) -> Downsample:
    """Means of square blocks of pixels (super-resolution).

    Args:
        shape: shape of a sample, (C, H, W).
        factor: side of a block, in pixels; it divides H and W.
    """
    operator = Downsample(factor)
    operator.check_shape(shape)
    return operator
