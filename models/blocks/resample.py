"""Halving and doubling the resolution, plainly or through a FIR filter, with or without a convolution.

The filter's conventions are StyleGAN2's (Karras et al. 2020; ``upfirdn``): a separable, normalised kernel
``k``; the signal is zero outside. Everything is an ordinary (transposed) convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.layers import conv

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


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


def _pad(x: Tensor, before: int, after: int) -> Tensor:
    """Zeros on each spatial axis; a negative number of them crops."""
    return x if before == after == 0 else F.pad(x, (before, after) * (x.ndim - 2))


def fir_filter(x: Tensor, kernel: Tensor, *, stride: int = 1) -> Tensor:
    """True convolution with ``kernel`` where it fits inside ``x``, per channel, every ``stride``-th."""
    flipped = kernel.flip(tuple(range(kernel.ndim)))
    return _CONV[kernel.ndim](x, _depthwise(flipped, x), stride=stride, groups=x.shape[1])


def fir_downsample(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter, then keep every second position: (..., H) -> (..., H / 2)."""
    p = kernel.shape[0] - 2
    return fir_filter(_pad(x, (p + 1) // 2, p // 2), kernel, stride=2)


def fir_upsample(x: Tensor, kernel: Tensor) -> Tensor:
    """Put a zero after every value and filter with ``2^rank kernel``: (..., H) -> (..., 2 H)."""
    rank, p = kernel.ndim, kernel.shape[0] - 2
    # A transposed convolution does both; it yields p more than 2 H, of which p // 2 in front.
    y = _CONV_TRANSPOSE[rank](x, _depthwise(kernel * 2**rank, x), stride=2, padding=p // 2, groups=x.shape[1])
    return _pad(y, 0, -(p % 2))


def fir_downsample_conv(x: Tensor, kernel: Tensor, weight: Tensor) -> Tensor:
    """Filter, then convolve with ``weight`` at stride 2; the padding happens once, before both."""
    p = kernel.shape[0] - 2 + weight.shape[-1] - 1
    return _CONV[kernel.ndim](fir_filter(_pad(x, (p + 1) // 2, p // 2), kernel), weight, stride=2)


def fir_upsample_conv(x: Tensor, kernel: Tensor, weight: Tensor) -> Tensor:
    """Zero stuffing, filter and convolution with ``weight``; nothing is cut off between the two.

    ``y[n] = sum_ij 2^rank k[i] w[j] u[n - i + j]`` on each axis, u the zero-stuffed signal (3 taps of w).
    The ancestor's crashes (it reverses a tensor by a negative stride).
    """
    rank = kernel.ndim
    p = kernel.shape[0] - 2 - (weight.shape[-1] - 1)
    # The transposed convolution with the reversed weight is the zero stuffing and the correlation at once.
    reverse = weight.flip(tuple(range(2, 2 + rank))).transpose(0, 1)
    y = _CONV_TRANSPOSE[rank](x, reverse, stride=2)
    return fir_filter(_pad(y, (p + 1) // 2 + 1, p // 2 + 1), kernel * 2**rank)


def _add_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    assert bias is not None
    return y + bias.reshape(-1, *[1] * (y.ndim - 2))


class Downsample(nn.Module):
    """Half the resolution on every axis.

    Args:
        in_channels: needed only with a convolution, as is ``out_channels`` (default ``in_channels``).
        with_conv: through a 3-wide convolution of stride 2; otherwise the mean of each cell.
        fir: taps of the filter, None for none.
    """

    kernel: Tensor | None

    def __init__(
        self,
        rank: int,
        *,
        in_channels: int | None = None,
        out_channels: int | None = None,
        with_conv: bool = False,
        fir: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.conv = None
        if with_conv:
            assert in_channels is not None
            self.conv = conv(rank, in_channels, out_channels or in_channels, stride=2, padding=0)
        self.register_buffer("kernel", None if fir is None else fir_kernel(fir, rank), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel is not None and self.conv is not None:
            return _add_bias(fir_downsample_conv(x, self.kernel, self.conv.weight), self.conv.bias)
        if self.kernel is not None:
            return fir_downsample(x, self.kernel)
        if self.conv is not None:
            # One zero behind, none in front: TensorFlow's SAME, as the published weights expect.
            return self.conv(_pad(x, 0, 1))
        return {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[x.ndim - 2](x, 2)


class Upsample(nn.Module):
    """Twice the resolution on every axis; arguments of ``Downsample``; nearest without a filter."""

    kernel: Tensor | None

    def __init__(
        self,
        rank: int,
        *,
        in_channels: int | None = None,
        out_channels: int | None = None,
        with_conv: bool = False,
        fir: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.conv = None
        if with_conv:
            assert in_channels is not None
            self.conv = conv(rank, in_channels, out_channels or in_channels)
        self.register_buffer("kernel", None if fir is None else fir_kernel(fir, rank), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel is not None and self.conv is not None:
            return _add_bias(fir_upsample_conv(x, self.kernel, self.conv.weight), self.conv.bias)
        if self.kernel is not None:
            return fir_upsample(x, self.kernel)
        y = F.interpolate(x, scale_factor=2, mode="nearest")
        return y if self.conv is None else self.conv(y)
