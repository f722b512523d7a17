"""Some of the Fourier coefficients (magnetic resonance imaging)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor

from samplers.operators.base import LinearOperator, register_operator
from samplers.operators.mask import Mask
from sde_lib.base import expand
from sde_lib.noise import Noise
from sde_lib.settings import Range, checked


@dataclass(frozen=True, eq=False)
class Fourier(LinearOperator):
    """A x = the measured coefficients of the orthonormal 2-D Fourier transform of each channel.

    (B, C, H, W) to (B, 2C, H, W): the real parts of all channels, then the imaginary ones, zero where nothing
    is measured; frequency (0, 0) first. The coefficients of a real image at k and -k are conjugate, so a mask
    with both measures the same twice, each with its own noise.

    Args:
        known: 1 where a frequency is measured, (H, W).

    Raises:
        ValueError: a mask that is not binary or not (H, W).
    """

    known: Tensor
    weight: Tensor = field(init=False, repr=False)
    _gain: float | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.known.ndim != 2:
            raise ValueError(f"the mask of frequencies is (H, W), got shape {tuple(self.known.shape)}.")
        object.__setattr__(self, "known", Mask(self.known).known)
        mirrored = self.known.flip((0, 1)).roll((1, 1), (0, 1))
        # A^T A multiplies the coefficient at k by 1 if k and -k are measured, by 1/2 if one of them is.
        object.__setattr__(self, "weight", (self.known.double() + mirrored.double()) / 2)
        paired = torch.equal(self.known, mirrored)
        object.__setattr__(self, "_gain", 1.0 if paired else None)

    @property
    def gain(self) -> float | None:
        return self._gain

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse samples of another height or width."""
        if tuple(shape[-2:]) != tuple(self.known.shape):
            raise ValueError(
                f"the mask of frequencies is of {tuple(self.known.shape)}, the samples are of "
                f"{tuple(shape[-2:])}; build it for their size."
            )

    def apply(self, x: Tensor) -> Tensor:
        self.check_shape(x.shape)
        coefficients = torch.fft.fft2(x, norm="ortho")
        return self.restrict(torch.cat([coefficients.real, coefficients.imag], 1))

    def adjoint(self, y: Tensor) -> Tensor:
        real, imaginary = self.restrict(y).chunk(2, 1)
        image: Tensor = torch.fft.ifft2(torch.complex(real, imaginary), norm="ortho")
        return image.real

    def restrict(self, y: Tensor) -> Tensor:
        return torch.where(self.known, y, 0)

    def ridge(self, y: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        # A^T (s A A^T + c)^+ = (s A^T A + c)^+ A^T, and A^T A is diagonal in frequency.
        back = torch.fft.fft2(self.adjoint(y), norm="ortho")
        energy = expand(scale, y) * self.weight.to(y.dtype) + expand(shift, y)
        image: Tensor = torch.fft.ifft2(back / torch.where(self.weight > 0, energy, 1), norm="ortho")
        return image.real


@register_operator(name="fourier")
@checked
def fourier(
    shape: Sequence[int],
    *,
    lines: Annotated[int, Range(least=1)],
    centre: Annotated[int, Range(least=0)] = 2,
    seed: int = 0,
) -> Fourier:
    """``lines`` rows of frequencies, as a scanner reads them: the ``centre`` lowest, the others at random.

    Args:
        shape: shape of a sample, (C, H, W).
        lines: number of measured rows of frequencies, 1 to H.
        centre: how many of them are the rows of lowest frequency; the others are random.
        seed: random seed of the choice of rows.

    Raises:
        ValueError: a number of lines out of range.
    """
    height, width = shape[-2:]
    if not centre <= lines <= height:
        raise ValueError(
            f"of {height} lines of frequencies 1 to {height} can be measured, 0 to all of them in the centre; "
            f"got lines={lines}, centre={centre}."
        )
    frequency = torch.fft.fftfreq(height).abs()
    lowest = frequency.argsort(stable=True)[:centre]
    rank = Noise(seed, [0]).bits(height)[0].argsort().argsort()
    rank[lowest] = -1
    known = torch.zeros(height, width, dtype=torch.bool)
    known[rank.argsort(stable=True)[:lines]] = True
    return Fourier(known)
