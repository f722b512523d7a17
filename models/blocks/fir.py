"""Filters of finite impulse response, for halving and doubling the resolution.

The conventions are StyleGAN2's (Karras et al. 2020; ``upfirdn``): a separable, normalised kernel ``k``; the
signal is zero outside. Everything is an ordinary (transposed) convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.blocks.convolution import convolve, convolve_transposed


def fir_kernel(taps: Sequence[float], rank: int) -> Tensor:
    """The outer product of ``taps`` with itself over ``rank`` axes, summing to 1.

    Raises:
        ValueError: fewer than two taps, or taps that sum to 0.
    """
    if len(taps) < 2 or sum(taps) == 0:
        raise ValueError(f"fir_kernel {tuple(taps)} must have at least two taps and a sum other than 0.")
    line = torch.tensor(taps, dtype=torch.float64)
    kernel = line / line.sum()
    for _ in range(rank - 1):
        kernel = kernel[..., None] * (line / line.sum())
    return kernel.float()


def _depthwise(kernel: Tensor, x: Tensor) -> Tensor:
    return kernel.to(x.dtype).expand(x.shape[1], 1, *kernel.shape)


def pad(x: Tensor, before: int, after: int) -> Tensor:
    """Zeros on each spatial axis; a negative number of them crops."""
    return x if before == after == 0 else F.pad(x, (before, after) * (x.ndim - 2))


def fir_filter(x: Tensor, kernel: Tensor, *, stride: int = 1) -> Tensor:
    """True convolution with ``kernel`` where it fits inside ``x``, per channel, every ``stride``-th."""
    flipped = kernel.flip(tuple(range(kernel.ndim)))
    return convolve(x, _depthwise(flipped, x), stride=stride, groups=x.shape[1])


def fir_downsample(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter, then keep every second position: (..., H) -> (..., H / 2)."""
    p = kernel.shape[0] - 2
    return fir_filter(pad(x, (p + 1) // 2, p // 2), kernel, stride=2)


def fir_upsample(x: Tensor, kernel: Tensor) -> Tensor:
    """Put a zero after every value and filter with ``2^rank kernel``: (..., H) -> (..., 2 H)."""
    rank, p = kernel.ndim, kernel.shape[0] - 2
    # A transposed convolution does both; it yields p more than 2 H, of which p // 2 in front.
    y = convolve_transposed(x, _depthwise(kernel * 2**rank, x), stride=2, padding=p // 2, groups=x.shape[1])
    return pad(y, 0, -(p % 2))


def fir_downsample_conv(x: Tensor, kernel: Tensor, weight: Tensor) -> Tensor:
    """Filter, then convolve with ``weight`` at stride 2; the padding happens once, before both."""
    p = kernel.shape[0] - 2 + weight.shape[-1] - 1
    return convolve(fir_filter(pad(x, (p + 1) // 2, p // 2), kernel), weight, stride=2)


def fir_upsample_conv(x: Tensor, kernel: Tensor, weight: Tensor) -> Tensor:
    """Zero stuffing, filter and convolution with ``weight``; nothing is cut off between the two.

    ``y[n] = sum_ij 2^rank k[i] w[j] u[n - i + j]`` on each axis, u the zero-stuffed signal (3 taps of w).
    score_sde's crashes (it reverses a tensor by a negative stride).
    """
    rank = kernel.ndim
    p = kernel.shape[0] - 2 - (weight.shape[-1] - 1)
    # The transposed convolution with the reversed weight is the zero stuffing and the correlation at once.
    reverse = weight.flip(tuple(range(2, 2 + rank))).transpose(0, 1)
    y = convolve_transposed(x, reverse, stride=2)
    return fir_filter(pad(y, (p + 1) // 2 + 1, p // 2 + 1), kernel * 2**rank)
