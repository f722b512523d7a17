"""Masks: some entries are known, the rest is not (inpainting)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from samplers.operators.base import LinearOperator, register_operator
from sde_lib.noise import Noise
from sde_lib.settings import Range, checked
from sde_lib.words import digits

Half = Literal["lower", "upper", "left", "right"]


@dataclass(frozen=True, eq=False)
class Mask(LinearOperator):
    """A x = x where ``known``, zero elsewhere: y has the shape of x, and A A^T = 1 on its range.

    Args:
        known: True (or 1) where an entry is measured; broadcasts to a sample, (C, H, W), (1, H, W) or (H, W).

    Raises:
        ValueError: values other than 0 and 1.
    """

    known: Tensor

    def __post_init__(self) -> None:
        if self.known.dtype != torch.bool:
            if not bool(((self.known == 0) | (self.known == 1)).all()):
                raise ValueError(
                    f"a mask holds 1 (known) and 0 (unknown) only; this one has values from "
                    f"{digits(float(self.known.min()), 3)} to {digits(float(self.known.max()), 3)}: threshold it first."
                )
            object.__setattr__(self, "known", self.known.bool())

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse a mask that does not broadcast to samples of ``shape`` (..., C, H, W)."""
        try:
            fits = torch.broadcast_shapes(self.known.shape, tuple(shape)) == torch.Size(shape)
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(
                f"the mask has shape {tuple(self.known.shape)}, which does not broadcast to samples of shape "
                f"{tuple(shape)}; give a mask of the samples' height and width."
            )

    @property
    def gain(self) -> float | None:
        return 1.0

    def apply(self, x: Tensor) -> Tensor:
        self.check_shape(x.shape)
        return torch.where(self.known, x, 0)

    def adjoint(self, y: Tensor) -> Tensor:
        return torch.where(self.known, y, 0)

    def restrict(self, y: Tensor) -> Tensor:
        return torch.where(self.known, y, 0)

    def of_cells(self, shape: Sequence[int], cells: Sequence[int]) -> Mask:
        """A cell is known where all of its pixels are."""
        known, (h, w) = self.known.expand(*shape).all(0), cells
        blocks = known.reshape(h, shape[1] // h, w, shape[2] // w)
        return Mask(blocks.all(3).all(1)[None])

    def replace(self, x: Tensor, y: Tensor) -> Tensor:
        """Known entries become the measurement's, bit for bit."""
        self.check_shape(x.shape)
        return torch.where(self.known, y, x)


def _plane(shape: Sequence[int]) -> Tensor:
    """Everything known, (1, H, W)."""
    return torch.ones((1, *shape[-2:]), dtype=torch.bool)


@register_operator(name="mask_box")
@checked
def box(
    shape: Sequence[int],
    *,
    height: Annotated[int, Range(least=1)],
    width: Annotated[int, Range(least=1)],
    top: Annotated[int, Range(least=0)] | None = None,
    left: Annotated[int, Range(least=0)] | None = None,
) -> Mask:
    """All is known but a box.

    Args:
        shape: shape of a sample, (C, H, W).
        height, width: size of the unknown box, in pixels.
        top, left: position of the box's upper left corner, in pixels; centred unless given.

    Raises:
        ValueError: the box leaves the image.
    """
    known, (rows, columns) = _plane(shape), shape[-2:]
    top = (rows - height) // 2 if top is None else top
    left = (columns - width) // 2 if left is None else left
    if not (0 <= top <= rows - height and 0 <= left <= columns - width):
        raise ValueError(
            f"a box of {height} x {width} at ({top}, {left}) does not lie in an image of {rows} x {columns}."
        )
    known[:, top : top + height, left : left + width] = False
    return Mask(known)


@register_operator(name="mask_half")
@checked
def half(shape: Sequence[int], *, unknown: Half = "lower") -> Mask:
    """One half of the image is known, the other is not.

    Args:
        shape: shape of a sample, (C, H, W).
        unknown: which half is not known.
    """
    known, (rows, columns) = _plane(shape), shape[-2:]
    row, column = {
        "lower": (slice(rows // 2, None), slice(None)),
        "upper": (slice(None, rows // 2), slice(None)),
        "left": (slice(None), slice(None, columns // 2)),
        "right": (slice(None), slice(columns // 2, None)),
    }[unknown]
    known[:, row, column] = False
    return Mask(known)


@register_operator(name="mask_random")
@checked
def random(
    shape: Sequence[int], *, fraction: Annotated[float, Range(least=0, most=1)], seed: int = 0
) -> Mask:
    """Random pixels are known, in every channel: exactly a given fraction of them, the same for one seed.

    Args:
        shape: shape of a sample, (C, H, W).
        fraction: share of the pixels that are known.
        seed: random seed of the choice of pixels.

    Raises:
        ValueError: a fraction outside [0, 1].
    """
    known = torch.zeros_like(_plane(shape))
    order = Noise(seed, [0]).bits(known.numel())[0].argsort()
    known.view(-1)[order[: round(fraction * known.numel())]] = True
    return Mask(known)


@register_operator(name="mask_image")
def image(shape: Sequence[int], *, known: Tensor) -> Mask:
    """The mask is given as an image of 0 (unknown) and 1 (known).

    Args:
        shape: shape of a sample, (C, H, W).
        known: the mask, (H, W), (1, H, W) or (C, H, W).

    Raises:
        ValueError: of another size than the samples, or not binary.
    """
    mask = Mask(known)
    mask.check_shape(shape)
    return mask
