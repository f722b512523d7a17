"""Gaussian blur (deblurring)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from torch import Tensor

from samplers.operators.base import LinearOperator, register_operator
from sde_lib.base import expand
from sde_lib.settings import Range, check_settings, checked


@dataclass(frozen=True, eq=False)
class Blur(LinearOperator):
    """A x = R x C^T for each channel: rows blurred by ``columns``, columns by ``rows``; (B, C, H, W) to the same.

    Pseudo-inverse and ridge come from the singular values of R and C, in float64. A blur all but destroys
    some patterns: those whose singular value is below ``tolerance`` of the largest count as not measured,
    because to restore them would be to restore rounding errors.

    Args:
        rows: R, (H, H).
        columns: C, (W, W).
        tolerance: smallest singular value of A, relative to the largest, that is inverted.
    """

    rows: Tensor
    columns: Tensor
    tolerance: Annotated[float, Range(above=0, below=1)] = 1e-3
    row_out: Tensor = field(init=False, repr=False)
    row_in: Tensor = field(init=False, repr=False)
    column_out: Tensor = field(init=False, repr=False)
    column_in: Tensor = field(init=False, repr=False)
    values: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_settings(self)
        row_out, row_values, row_in = torch.linalg.svd(self.rows.double())
        column_out, column_values, column_in = torch.linalg.svd(self.columns.double())
        values = row_values[:, None] * column_values
        factors = {
            "row_out": row_out,
            "row_in": row_in,
            "column_out": column_out,
            "column_in": column_in,
            "values": torch.where(values >= self.tolerance * values.max(), values, 0),
        }
        for name, table in factors.items():
            object.__setattr__(self, name, table)

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse samples of another height or width."""
        if tuple(shape[-2:]) != (len(self.rows), len(self.columns)):
            raise ValueError(
                f"this blur is of images of {len(self.rows)} x {len(self.columns)}, the samples are of "
                f"{shape[-2]} x {shape[-1]}; build it for their size."
            )

    def apply(self, x: Tensor) -> Tensor:
        self.check_shape(x.shape)
        return self.rows.to(x.dtype) @ x @ self.columns.to(x.dtype).T

    def adjoint(self, y: Tensor) -> Tensor:
        return self.rows.to(y.dtype).T @ y @ self.columns.to(y.dtype)

    def ridge(self, y: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        seen = self.values > 0
        spectrum = self.row_out.T @ y.double() @ self.column_out
        energy = expand(scale, spectrum) * self.values**2 + expand(shift, spectrum)
        restored = self.values * spectrum / torch.where(seen, energy, 1)
        return (self.row_in.T @ restored @ self.column_in).to(y.dtype)


STD = "{name}, the kernel's standard deviation, in pixels, must be positive; got {value}."


def _gaussian(size: int, std: float, boundary: str) -> Tensor:
    """Rows of Gaussian weights, each summing to one, over pixels beyond the edge as ``boundary`` has them."""
    reach = math.ceil(8 * std)
    offsets = torch.arange(-reach, reach + 1)
    weights = (-0.5 * (offsets.double() / std) ** 2).exp()
    at = torch.arange(size)[:, None] + offsets
    if boundary == "reflect":
        # Mirrored about the edges, with the edge pixel repeated: ... b a | a b c | c b ...
        at = at.remainder(2 * size)
        at = torch.minimum(at, 2 * size - 1 - at)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    matrix.scatter_add_(1, at.remainder(size), (weights / weights.sum()).expand(size, -1))
    return matrix


@register_operator(name="blur")
@checked
def blur(
    shape: Sequence[int],
    *,
    std: Annotated[float, Range(above=0, words=STD)] = 1.0,
    boundary: Literal["circular", "reflect"] = "circular",
    tolerance: Annotated[float, Range(above=0, below=1)] = 1e-3,
) -> Blur:
    """Gaussian blur of images.

    Args:
        shape: shape of a sample, (C, H, W).
        std: standard deviation of the kernel, in pixels.
        boundary: what lies beyond the edge: the opposite side (``circular``) or the mirror image (``reflect``).
        tolerance: smallest singular value of A, relative to the largest, that is inverted.

    Raises:
        ValueError: a std that is not positive, an unknown boundary.
    """
    rows, columns = (_gaussian(size, std, boundary) for size in shape[-2:])
    return Blur(rows, columns, tolerance)
