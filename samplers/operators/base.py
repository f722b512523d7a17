"""Linear measurements y = A x: the interface, what follows from it, and a test of it."""

from __future__ import annotations

import abc
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias, TypeVar

import torch
from torch import Tensor

from samplers.operators.krylov import conjugate_gradients
from sde_lib.base import expand
from sde_lib.noise import Noise
from sde_lib.registry import Registry
from sde_lib.settings import Range

Self = TypeVar("Self", bound="LinearOperator")

NoiseStd: TypeAlias = Annotated[
    float, Range(least=0, words="{name} is a standard deviation, 0 or more; got {value}.")
]
"""The standard deviation of a measurement's noise."""


@dataclass(frozen=True)
class Linearised:
    """A measurement near a sample x: y ~ image + A (x' - x).

    Attributes:
        image: the measurement of x.
        operator: A; of a linear measurement itself.
    """

    image: Tensor
    operator: LinearOperator


class Measurement(abc.ABC):
    """A differentiable map of each sample, the same for every sample of a batch."""

    @abc.abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """A x: (B, ...) samples to (B, ...) measurements."""

    @abc.abstractmethod
    def restrict(self, y: Tensor) -> Tensor:
        """``y`` with its placeholders zero."""

    @abc.abstractmethod
    def at(self, x: Tensor) -> Linearised:
        """What it is near samples (B, ...): it may keep what it has computed of them."""

    @abc.abstractmethod
    def map(self, change: Callable[[Tensor], Tensor]) -> Measurement:
        """The measurement with each of its tables changed."""


class LinearOperator(Measurement):
    """A linear map of each sample, the same for every sample of a batch. Implementations are frozen dataclasses.

    ``apply`` and ``adjoint`` are all that a new operator must write; the rest follows from them by conjugate
    gradients, and closed forms may override it. Where entries of y are placeholders (pixels that a mask
    hides), ``apply`` sets them to zero and ``restrict`` says which they are.

    Attributes:
        cg_iterations: of the conjugate gradients that stand in for closed forms; as many as A has distinct
            singular values give the exact result.
    """

    cg_iterations: int = 50

    @abc.abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """A^T y: (B, ...) measurements to (B, ...) samples."""

    @property
    def gain(self) -> float | None:
        """g where A A^T = g on the range of A (orthogonal rows of equal length); None: no such number."""
        return None

    def ridge(self, y: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """A^T (scale A A^T + shift I)^+ y; ``scale`` > 0 and ``shift`` >= 0 are (B,)."""
        if self.gain is not None:
            return self.adjoint(y) / expand(scale * self.gain + shift, y)

        def normal(v: Tensor) -> Tensor:
            return expand(scale, y) * self.apply(self.adjoint(v)) + expand(shift, y) * v

        return self.adjoint(conjugate_gradients(normal, y, self.cg_iterations))

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        """A^+ y: the smallest x whose measurement is nearest to ``y``."""
        one = torch.ones(len(y), dtype=torch.float64, device=y.device)
        return self.ridge(y, one, torch.zeros_like(one))

    def replace(self, x: Tensor, y: Tensor) -> Tensor:
        """The nearest state to ``x`` that measures ``y``: x - A^+ (A x - y)."""
        return x - self.pseudo_inverse(self.apply(x) - y)

    def restrict(self, y: Tensor) -> Tensor:
        """``y`` with its placeholders zero."""
        return y

    def at(self, x: Tensor) -> Linearised:
        return Linearised(self.apply(x), self)

    def of_cells(self, shape: Sequence[int], cells: Sequence[int]) -> LinearOperator | None:
        """The same measurement of a coarser image, whose entries each stand for a block of pixels.

        Args:
            shape: of a sample, (C, H, W).
            cells: (h, w) of the coarser one; they divide H and W.

        Returns:
            an operator of (C', h, w) for any C'; None: it mixes pixels, so that there is none.
        """
        return None

    def measure(self, x: Tensor, noise: Noise, noise_std: float = 0.0) -> Tensor:
        """A draw of y = A x + noise_std z.

        Raises:
            ValueError: a negative noise.
        """
        check_noise_std(noise_std)
        y = self.apply(x)
        return y + noise_std * self.restrict(noise.normal(y.shape)) if noise_std else y

    def to(self: Self, device: torch.device | str) -> Self:
        """The operator with its tables on ``device``."""
        return self.map(lambda table: table.to(device))

    def map(self: Self, change: Callable[[Tensor], Tensor]) -> Self:
        """The operator with each of its tables changed."""
        changed = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                # The operator is frozen, this copy of it is not yet anybody's.
                object.__setattr__(changed, name, change(value))
        return changed


register_operator: Registry[Callable[..., LinearOperator]] = Registry("operator")
"""Builders by name: ``build(shape, *, settings) -> LinearOperator``, for samples of ``shape`` (C, H, W)."""


def check_noise_std(noise_std: float) -> None:
    """Refuse a negative noise."""
    if not noise_std >= 0:
        raise ValueError(f"the measurement's noise_std is a standard deviation, 0 or more; got {noise_std}.")


def check_measurement(expected: Sequence[int], measurement: Tensor) -> None:
    """Refuse a measurement of another shape than ``expected``, the operator's of the states."""
    if tuple(measurement.shape) != tuple(expected):
        raise ValueError(
            f"the measurement has shape {tuple(measurement.shape)}, but the operator's of these states is "
            f"{tuple(expected)}; pass y = operator.apply(x) of as many samples, in the same order."
        )


def check_adjoint(
    operator: LinearOperator,
    shape: Sequence[int],
    *,
    seed: int = 0,
    tolerance: float = 1e-4,
    device: torch.device | str = "cpu",
) -> None:
    """The dot-product test: <A x, y> = <x, A^T y> for random x of ``shape`` (B, ...) and y, in float64.

    ``device`` is where the operator's tables are.

    Raises:
        ValueError: the two differ by more than ``tolerance`` of |A x| |y|, or the adjoint has another shape
            than the samples.
    """
    noise = Noise(seed, range(shape[0]), device, torch.float64)
    x = noise.normal(shape)
    image = operator.apply(x)
    y = operator.restrict(noise.normal(image.shape))
    back = operator.adjoint(y)
    if back.shape != x.shape:
        raise ValueError(
            f"{type(operator).__name__}.adjoint gives shape {tuple(back.shape)} for samples of shape "
            f"{tuple(x.shape)}; it must map measurements back to samples."
        )
    forth, again = (image * y).flatten(1).sum(1), (x * back).flatten(1).sum(1)
    size = image.flatten(1).norm(dim=1) * y.flatten(1).norm(dim=1)
    error = float(((forth - again).abs() / size.clamp(min=torch.finfo(torch.float64).tiny)).max())
    if not error <= tolerance:
        raise ValueError(
            f"{type(operator).__name__}.adjoint is not the adjoint of apply: <A x, y> and <x, A^T y> differ by "
            f"{error:.2g} of |A x| |y|, allowed {tolerance:.2g}; correct adjoint (or apply, if it is not linear)."
        )
