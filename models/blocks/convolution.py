"""Convolutions of one, two or three spatial axes, and dense layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.initialisation import variance_scaling_

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
TransposedConvolution: TypeAlias = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Sizes: TypeAlias = int | Sequence[int]
"""One number for all spatial axes, or one for each."""

_CONV: dict[int, Callable[..., Convolution]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, Callable[..., TransposedConvolution]] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
RANKS = tuple(_CONV)
"""The numbers of spatial axes for which there are convolutions."""


def conv(
    rank: int,
    in_channels: int,
    out_channels: int,
    *,
    kernel: int = 3,
    stride: Sizes = 1,
    padding: int | None = None,
    dilation: int = 1,
    bias: bool = True,
    init_scale: float | None = None,
) -> Convolution:
    """A convolution over ``rank`` spatial axes; at stride 1 it keeps the spatial size.

    Args:
        rank: number of spatial axes, 1 to 3.
        kernel: width along every axis, odd for the default padding.
        stride: of all axes, or one for each.
        padding: zeros on both sides of every axis; None for as many as keep the size.
        dilation: distance between the kernel's taps.
        bias: whether a bias is added.
        init_scale: of DDPM's initialisation (``variance_scaling_``, zero bias); None for PyTorch's.
    """
    layer = _CONV[rank](
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=dilation * (kernel // 2) if padding is None else padding,
        dilation=dilation,
        bias=bias,
    )
    if init_scale is not None:
        variance_scaling_(layer.weight, init_scale)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layer


def conv_transposed(
    rank: int, in_channels: int, out_channels: int, *, kernel: Sizes, stride: Sizes, padding: int
) -> TransposedConvolution:
    """A transposed convolution over ``rank`` spatial axes with PyTorch's initialisation."""
    return _TRANSPOSED[rank](in_channels, out_channels, kernel, stride=stride, padding=padding)


def linear(in_features: int, out_features: int, *, init_scale: float | None = None) -> nn.Linear:
    """A dense layer; ``init_scale`` as for ``conv``."""
    layer = nn.Linear(in_features, out_features)
    if init_scale is not None:
        variance_scaling_(layer.weight, init_scale)
        nn.init.zeros_(layer.bias)
    return layer


class Pointwise(nn.Module):
    """The same dense layer at every position: (B, in, ...) -> (B, out, ...); ``weight`` is (out, in).

    It is DDPM's network-in-network layer (``NIN`` in score_sde), with DDPM's initialisation.
    """

    def __init__(self, in_channels: int, out_channels: int, *, init_scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        variance_scaling_(self.weight, init_scale)

    def forward(self, x: Tensor) -> Tensor:
        # As a convolution, so that either memory format goes through without a copy.
        rank = x.ndim - 2
        return convolve(x, self.weight.reshape(*self.weight.shape, *[1] * rank), self.bias)


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Tensor:
    """``F.conv1d``, ``F.conv2d`` or ``F.conv3d``, by the rank of ``weight`` (out, in, ...)."""
    function = (F.conv1d, F.conv2d, F.conv3d)[weight.ndim - 3]
    return function(x, weight, bias, stride=stride, padding=padding, groups=groups)


def convolve_transposed(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Sizes = 1,
    padding: int = 0,
    groups: int = 1,
) -> Tensor:
    """``F.conv_transpose1d`` and so on, by the rank of ``weight`` (in, out, ...)."""
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[weight.ndim - 3]
    return function(x, weight, bias, stride=stride, padding=padding, groups=groups)
