"""Halving and doubling the resolution: plainly, by a convolution, or through a FIR filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

import torch.nn.functional as F
from torch import Tensor

from models.blocks.block import Block
from models.blocks.convolution import conv, conv_transposed
from models.blocks.fir import (
    fir_downsample,
    fir_downsample_conv,
    fir_kernel,
    fir_upsample,
    fir_upsample_conv,
    pad,
)

Factors = tuple[int, ...]
"""By how much each spatial axis is resampled: 2, or 1 for an axis that keeps its size."""


def factors_of(rank: int, *, keep_depth: bool = False) -> Factors:
    """2 along every axis; with ``keep_depth`` 1 along the first of three axes (depth or time), as ADM has it."""
    return (1, 2, 2) if keep_depth and rank == 3 else (2,) * rank


def _add_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    assert bias is not None
    return y + bias.reshape(-1, *[1] * (y.ndim - 2))


@final
class Downsample(Block):
    """Half the resolution.

    Args:
        rank: number of spatial axes.
        in_channels: needed only with a convolution, as is ``out_channels`` (default ``in_channels``).
        with_conv: by a 3-wide convolution of stride 2; otherwise the mean of each cell.
        fir: taps of the filter, None for none.
        padding: of the convolution without a filter: one zero ``behind`` each axis (TensorFlow's SAME, as
            DDPM's weights expect) or on ``both`` sides (ADM's).
        keep_depth: see ``factors_of``; without a filter only.
        init_scale: of the convolution, see ``conv``.
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
        padding: Literal["behind", "both"] = "behind",
        keep_depth: bool = False,
        init_scale: float | None = 1.0,
    ) -> None:
        super().__init__()
        self.factors = factors_of(rank, keep_depth=keep_depth)
        self.padding = padding
        self.conv = None
        if with_conv:
            assert in_channels is not None
            self.conv = conv(
                rank,
                in_channels,
                out_channels or in_channels,
                stride=self.factors,
                padding=0 if padding == "behind" else 1,
                init_scale=init_scale,
            )
        self.register_buffer("kernel", None if fir is None else fir_kernel(fir, rank), persistent=False)

    def evaluate(self, h: Tensor, emb: Tensor | None) -> Tensor:
        if self.kernel is not None and self.conv is not None:
            return _add_bias(fir_downsample_conv(h, self.kernel, self.conv.weight), self.conv.bias)
        if self.kernel is not None:
            return fir_downsample(h, self.kernel)
        if self.conv is not None:
            halved: Tensor = self.conv(pad(h, 0, 1) if self.padding == "behind" else h)
            return halved
        return (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[h.ndim - 3](h, self.factors)


@final
class Upsample(Block):
    """Twice the resolution by repetition or a filter; arguments of ``Downsample``.

    A convolution without a filter keeps the size and comes after the repetition.
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
        keep_depth: bool = False,
        init_scale: float | None = 1.0,
    ) -> None:
        super().__init__()
        self.factors = factors_of(rank, keep_depth=keep_depth)
        self.conv = None
        if with_conv:
            assert in_channels is not None
            self.conv = conv(rank, in_channels, out_channels or in_channels, init_scale=init_scale)
        self.register_buffer("kernel", None if fir is None else fir_kernel(fir, rank), persistent=False)

    def evaluate(self, h: Tensor, emb: Tensor | None) -> Tensor:
        if self.kernel is not None and self.conv is not None:
            return _add_bias(fir_upsample_conv(h, self.kernel, self.conv.weight), self.conv.bias)
        if self.kernel is not None:
            return fir_upsample(h, self.kernel)
        h = F.interpolate(h, scale_factor=[float(factor) for factor in self.factors], mode="nearest")
        return h if self.conv is None else self.conv(h)


@final
class TransposedUpsample(Block):
    """Twice the resolution by a transposed convolution: zeros between the values, then a kernel of size 4."""

    def __init__(self, rank: int, channels: int, *, keep_depth: bool = False) -> None:
        super().__init__()
        factors = factors_of(rank, keep_depth=keep_depth)
        kernel = tuple(factor + 2 for factor in factors)
        self.deconv = conv_transposed(rank, channels, channels, kernel=kernel, stride=factors, padding=1)

    def evaluate(self, h: Tensor, emb: Tensor | None) -> Tensor:
        upsampled: Tensor = self.deconv(h)
        return upsampled
