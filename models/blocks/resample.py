"""Halving and doubling the resolution: plainly, by a convolution, or through a FIR filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor

from models.blocks.block import Block
from models.blocks.convolution import Convolution, conv, conv_transposed, convolve_transposed
from models.blocks.derived import derived
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


def repeated(h: Tensor, factors: Factors) -> Tensor:
    """Each value as often along each axis as its factor says."""
    return F.interpolate(h, scale_factor=[float(factor) for factor in factors], mode="nearest")


def convolve_repeated(h: Tensor, layer: Convolution, factors: Factors) -> Tensor:
    """``layer(repeated(h, factors))`` of a 3-wide convolution that keeps the size.

    A doubled axis has each value twice, so that two taps of the kernel meet the same one. On a CPU their weights are
    added first: a transposed convolution of stride 2, 4 wide, which takes 2/3 of the products for each doubled axis and
    differs in rounding alone. Other devices have not been measured, and convolve what is repeated.
    """
    if h.device.type != "cpu":
        convolved: Tensor = layer(repeated(h, factors))
        return convolved
    weight = derived(lambda: _on_values(layer.weight, factors).to(h.dtype), (layer,), h.dtype, factors)
    return convolve_transposed(h, weight, layer.bias, stride=factors, padding=1)


def _on_values(weight: Tensor, factors: Factors) -> Tensor:
    """A convolution (out, in, 3, ...) after repetition as a transposed one (in, out, 4 or 3, ...) without.

    The taps come first in memory, which small maps are quickest with.
    """
    taps = weight.movedim((0, 1), (-1, -2))
    for axis, factor in enumerate(factors):
        a, b, c = taps.unbind(axis)
        taps = torch.stack([c, b + c, a + b, a] if factor == 2 else [c, b, a], axis)
    return taps.movedim((-2, -1), (0, 1))


def _add_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    assert bias is not None
    return y + bias.reshape(-1, *[1] * (y.ndim - 2))


class Resampling(Block):
    """A block that changes the resolution."""

    def into(self, h: Tensor, layer: Convolution) -> Tensor:
        """``layer(self(h))`` of a 3-wide convolution that keeps the size."""
        convolved: Tensor = layer(self(h))
        return convolved


@final
class Downsample(Resampling):
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
class Upsample(Resampling):
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
        return (
            repeated(h, self.factors) if self.conv is None else convolve_repeated(h, self.conv, self.factors)
        )

    def into(self, h: Tensor, layer: Convolution) -> Tensor:
        if self.kernel is None and self.conv is None:
            return convolve_repeated(h, layer, self.factors)
        return super().into(h, layer)


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
