"""Random projections (compressed sensing), and any other matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from torch import Tensor

from samplers.operators.base import LinearOperator, register_operator
from sde_lib.base import expand
from sde_lib.noise import Noise
from sde_lib.settings import Range, checked


@dataclass(frozen=True, eq=False)
class Matrix(LinearOperator):
    """y = M vec(x): (B, *shape) to (B, m).

    Args:
        matrix: (m, n), n the number of elements of a sample.
        shape: shape of a sample.

    Raises:
        ValueError: a matrix of another width.
    """

    matrix: Tensor
    shape: tuple[int, ...]
    left: Tensor = field(init=False, repr=False)
    values: Tensor = field(init=False, repr=False)
    right: Tensor = field(init=False, repr=False)
    _gain: float | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or self.matrix.shape[1] != math.prod(self.shape):
            raise ValueError(
                f"a matrix of shape {tuple(self.matrix.shape)} does not act on samples of shape "
                f"{tuple(self.shape)}; it needs {math.prod(self.shape)} columns."
            )
        left, values, right = torch.linalg.svd(self.matrix.double(), full_matrices=False)
        kept = values > 1e-10 * values[0]
        for name, table in (("left", left), ("values", torch.where(kept, values, 0)), ("right", right)):
            object.__setattr__(self, name, table)
        orthogonal = bool((values >= (1 - 1e-10) * values[0]).all())
        object.__setattr__(self, "_gain", float(values[0]) ** 2 if orthogonal else None)

    @property
    def gain(self) -> float | None:
        return self._gain

    def apply(self, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != tuple(self.shape):
            raise ValueError(
                f"this projection is of samples of shape {tuple(self.shape)}, got {tuple(x.shape[1:])}."
            )
        return x.flatten(1) @ self.matrix.to(x.dtype).T

    def adjoint(self, y: Tensor) -> Tensor:
        return (y @ self.matrix.to(y.dtype)).reshape(-1, *self.shape)

    def ridge(self, y: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        spectrum = y.double() @ self.left
        energy = expand(scale, spectrum) * self.values**2 + expand(shift, spectrum)
        restored = self.values * spectrum / torch.where(self.values > 0, energy, 1)
        return (restored @ self.right).to(y.dtype).reshape(-1, *self.shape)


@register_operator(name="compressed_sensing")
@checked
def compressed_sensing(
    shape: Sequence[int],
    *,
    measurements: Annotated[int, Range(least=1)],
    kind: Literal["orthonormal", "gaussian"] = "orthonormal",
    seed: int = 0,
) -> Matrix:
    """Random projections, the same matrix for one seed.

    Args:
        shape: shape of a sample.
        measurements: how many numbers are measured of each sample.
        kind: kind of matrix: ``gaussian`` has entries N(0, 1 / measurements); ``orthonormal`` is an orthonormal basis
            of the row space of such a matrix, so that A A^T = 1.
        seed: random seed of the matrix.

    Raises:
        ValueError: more measurements than elements, or none; an unknown kind.
    """
    size = math.prod(shape)
    if measurements > size:
        raise ValueError(f"a sample of {size} elements allows 1 to {size} measurements, got {measurements}.")
    rows = Noise(seed, range(measurements), dtype=torch.float64).normal((measurements, size))
    if kind == "gaussian":
        return Matrix(rows / measurements**0.5, tuple(shape))
    return Matrix(torch.linalg.qr(rows.T).Q.T.contiguous(), tuple(shape))
