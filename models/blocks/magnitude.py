"""Layers that preserve the magnitude of what flows through them (Karras et al. 2024, appendix B).

The magnitude of a vector of n numbers is its root mean square. Sums, concatenations, activations and layers below give
outputs of unit expected magnitude for uncorrelated inputs of unit magnitude, whatever training does to the weights.
"""

from __future__ import annotations

import math
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.convolution import convolve
from models.blocks.derived import derived

_EPS = 1e-4
_SILU = 0.596
"""The root mean square of SiLU(z) for z ~ N(0, 1), eq. 80."""


def unit_magnitude(x: Tensor, dims: int | tuple[int, ...]) -> Tensor:
    """x / (rms(x) + 1e-4), the root mean square along ``dims``, computed in float32 (eq. 30 and 66)."""
    kept = (dims,) if isinstance(dims, int) else dims
    count = math.prod([x.shape[axis] for axis in kept])
    norm = torch.linalg.vector_norm(x, dim=kept, keepdim=True, dtype=torch.float32)
    scaled: Tensor = x / (norm / math.sqrt(count) + _EPS).to(x.dtype)
    return scaled


def mp_silu(x: Tensor) -> Tensor:
    """SiLU(x) / 0.596 (eq. 81)."""
    return F.silu(x) / _SILU


def mp_sum(a: Tensor, b: Tensor, t: float) -> Tensor:
    """((1 - t) a + t b) / sqrt((1 - t)^2 + t^2) (eq. 88)."""
    return torch.lerp(a, b, t) / math.hypot(1 - t, t)


def mp_cat(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The channels of a and of b, with shares (1 - t)^2 and t^2 of the sum of squares (eq. 103)."""
    n, m = a.shape[1], b.shape[1]
    scale = math.sqrt(n + m) / math.hypot(1 - t, t)
    return torch.cat([a * (scale * (1 - t) / math.sqrt(n)), b * (scale * t / math.sqrt(m))], dim=1)


@final
class MPFourier(nn.Module):
    """sqrt(2) cos(2 pi (f_i u + p_i)) at random frequencies f ~ N(0, 1) and phases p ~ U[0, 1): (B,) -> (B, size).

    Frequencies (2 pi f) and phases (2 pi p) are drawn once and never trained, yet part of the weights (eq. 75).
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.freqs = nn.Parameter(2 * math.pi * torch.randn(size), requires_grad=False)
        self.phases = nn.Parameter(2 * math.pi * torch.rand(size), requires_grad=False)

    def forward(self, u: Tensor) -> Tensor:
        # In float32 whatever the network computes in: ln(sigma) / 4 times a frequency.
        phases = torch.addcmul(self.phases.float(), u.float()[:, None], self.freqs.float())
        return math.sqrt(2) * phases.cos()


@final
class MPLayer(nn.Module):
    """A dense layer or convolution of no bias whose every output's weights have unit magnitude.

    With the n weights W of an output, the layer uses w = W / ((rms(W) + 1e-4) sqrt(n)) (eq. 47), times a gain.
    ``constrain`` brings W itself to unit magnitude before each training step, which keeps training's effective rate
    from falling (eq. 66, forced weight normalisation).

    Args:
        in_channels, out_channels: of the layer.
        rank: of the convolution, 1 to 3 spatial axes; 0: a dense layer of (B, in_channels).
        kernel: width of the convolution along each axis; odd, and the size is kept.
    """

    def __init__(self, in_channels: int, out_channels: int, *, rank: int = 0, kernel: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, *(kernel,) * rank))
        self.padding = kernel // 2

    def forward(self, x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        weight = derived(lambda: (self._scaled() * gain).to(x.dtype), (self, gain), x.dtype)
        return F.linear(x, weight) if weight.ndim == 2 else convolve(x, weight, padding=self.padding)

    def scaled_weight(self) -> Tensor:
        """w, float32."""
        return derived(self._scaled, (self,))

    def _scaled(self) -> Tensor:
        weight = self.weight.float()
        return unit_magnitude(weight, self._dims) / math.sqrt(weight[0].numel())

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring the weights to unit magnitude."""
        self.weight.copy_(unit_magnitude(self.weight.float(), self._dims))

    @property
    def _dims(self) -> tuple[int, ...]:
        return tuple(range(1, self.weight.ndim))
