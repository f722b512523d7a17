"""Images moved, turned and stretched without aliasing: at twice the resolution, by an orthogonal wavelet's filter."""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466,
    0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578,
    0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
"""Low-pass filter of Daubechies' least asymmetric wavelet of six vanishing moments (Daubechies 1992, table 6.3)."""
CENTRE = sum(n * h for n, h in enumerate(SYM6)) / sum(SYM6)
"""Where its mass is: an image enlarged by it lies so many of its pixels further on."""
MARGIN = 6
"""Pixels around an image that are enlarged with it: as far as the filter reaches over its border."""
FIRST = math.floor(CENTRE) - 2 * MARGIN
"""The first of the enlarged pixels that are needed."""


def warp(images: Tensor, inverse: Tensor) -> Tensor:
    """Images whose pixel at u, from the middle, is that of the given ones at A u + b; borders are reflected.

    The image is enlarged by two with the wavelet's filter, read there between pixels linearly, and made smaller by the
    same filter (Karras et al. 2020, "ADA", appendix B). The filter is orthogonal to its own even shifts, so that moves
    by whole pixels are exact, away from the border.

    Args:
        images: (B, C, H, W), floating point.
        inverse: A and b, rows (y, x), (B, 2, 3).
    """
    height, width = images.shape[2:]
    sizes = (height, width)
    dtype, device = torch.float32, images.device
    matrices = [(_enlarging(n).to(device), _reducing(n).to(device)) for n in sizes]
    with torch.autocast(device.type, enabled=False):
        (up_y, down_y), (up_x, down_x) = matrices
        large = up_y @ images.to(dtype) @ up_x.T
        grids = [_places(n).to(device) - (n - 1) / 2 for n in sizes]
        where = torch.stack(torch.meshgrid(*grids, indexing="ij"), dim=-1)  # (2H', 2W', 2)
        moved = torch.einsum("hwj,bij->bhwi", where, inverse[..., :2].to(dtype)) + inverse[
            :, None, None, :, 2
        ].to(dtype)
        read = [
            2 * _within(moved[..., axis] + (n - 1) / 2, n) + CENTRE - FIRST for axis, n in enumerate(sizes)
        ]
        last = [len(up_y) - 1, len(up_x) - 1]
        unit = [2 * at / most - 1 for at, most in zip(read, last, strict=True)]
        found = F.grid_sample(large, torch.stack([unit[1], unit[0]], dim=-1), align_corners=True)
        return (down_y @ found @ down_x.T).to(images.dtype)


def _reflected(at: Tensor, size: int) -> Tensor:
    """Coordinates in [0, size - 1], by reflection at the first and the last pixel as often as necessary."""
    if size == 1:
        return torch.zeros_like(at)
    at = at.remainder(2 * (size - 1))
    return size - 1 - (size - 1 - at).abs()


def _within(at: Tensor, size: int) -> Tensor:
    """Coordinates at most ``MARGIN`` outside an image; others by reflection."""
    return torch.where((at + MARGIN >= 0) & (at <= size - 1 + MARGIN), at, _reflected(at, size))


def _places(size: int) -> Tensor:
    """The places, in the image's pixels, of the enlarged ones of which an image is made."""
    return (torch.arange(2 * (size - 1) + len(SYM6), dtype=torch.float32) - CENTRE) / 2


@functools.lru_cache(maxsize=8)
def _enlarging(size: int) -> Tensor:
    """The matrix (M, size) to twice the resolution: pixel m is the sum of sqrt(2) h[m - 2k] x[k] over all k, the image
    being reflected."""
    last = 2 * (size - 1 + 2 * MARGIN) + FIRST + 2
    matrix = torch.zeros(last - FIRST + 1, size, dtype=torch.float64)
    for row, m in enumerate(range(FIRST, last + 1)):
        for n, weight in enumerate(SYM6):
            if (m - n) % 2 == 0:
                k = int(_reflected(torch.tensor(float((m - n) // 2)), size))
                matrix[row, k] += math.sqrt(2) * weight
    return matrix.float()


@functools.lru_cache(maxsize=8)
def _reducing(size: int) -> Tensor:
    """The matrix (size, 2 (size - 1) + 12) back: pixel k is the sum of h[m - 2k] z[m] / sqrt(2)."""
    matrix = torch.zeros(size, 2 * (size - 1) + len(SYM6), dtype=torch.float64)
    for k in range(size):
        matrix[k, 2 * k : 2 * k + len(SYM6)] = torch.tensor(SYM6, dtype=torch.float64) / math.sqrt(2)
    return matrix.float()
