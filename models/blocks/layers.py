"""Blocks that the ancestor's U-Nets share: initialised layers, and the residual block.

Rank-free: ``rank`` is the number of spatial axes (1, 2 or 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CONV: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}
_CONV_FUNCTION = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_ACTIVATIONS = ("elu", "lrelu", "relu", "swish")


def activation(name: str) -> nn.Module:
    """The activation of a config's ``model.nonlinearity``.

    Raises:
        ValueError: an unknown name.
    """
    match name.lower():
        case "swish":
            return nn.SiLU()
        case "relu":
            return nn.ReLU()
        case "elu":
            return nn.ELU()
        case "lrelu":
            return nn.LeakyReLU(negative_slope=0.2)
    raise ValueError(f"unknown nonlinearity {name!r}; allowed: {', '.join(_ACTIVATIONS)}.")


def variance_scaling_(weight: Tensor, scale: float = 1.0) -> Tensor:
    """Fill ``weight`` (out, in, ...) uniformly with variance ``scale / ((fan_in + fan_out) / 2)``.

    DDPM's initialisation (Ho et al. 2020, their code). A scale of 0 means 1e-10: the layer starts
    silent, yet its input still gets a gradient.
    """
    field = weight[0, 0].numel()
    fan_avg = field * (weight.shape[0] + weight.shape[1]) / 2
    bound = math.sqrt(3 * (scale or 1e-10) / fan_avg)
    return nn.init.uniform_(weight, -bound, bound)


def conv(
    rank: int,
    in_channels: int,
    out_channels: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    padding: int | None = None,
    init_scale: float = 1.0,
) -> nn.Conv1d | nn.Conv2d | nn.Conv3d:
    """A convolution of ``rank`` spatial axes with DDPM's initialisation and a zero bias."""
    padding = kernel // 2 if padding is None else padding
    layer = _CONV[rank](in_channels, out_channels, kernel, stride=stride, padding=padding)
    variance_scaling_(layer.weight, init_scale)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def linear(in_features: int, out_features: int, *, init_scale: float = 1.0) -> nn.Linear:
    """A dense layer with DDPM's initialisation and a zero bias."""
    layer = nn.Linear(in_features, out_features)
    variance_scaling_(layer.weight, init_scale)
    nn.init.zeros_(layer.bias)
    return layer


class Pointwise(nn.Module):
    """The same dense layer at every position: (B, in, ...) -> (B, out, ...); ``weight`` is (out, in)."""

    def __init__(self, in_channels: int, out_channels: int, *, init_scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        variance_scaling_(self.weight, init_scale)

    def forward(self, x: Tensor) -> Tensor:
        # As a convolution, so that either memory format goes through without a copy.
        rank = x.ndim - 2
        return _CONV_FUNCTION[rank](x, self.weight.reshape(*self.weight.shape, *[1] * rank), self.bias)


def group_norm(channels: int, *, groups: int) -> nn.GroupNorm:
    """Group normalisation with ``groups`` groups, or the largest divisor of both where they do not fit."""
    return nn.GroupNorm(math.gcd(groups, channels), channels, eps=1e-6)


def small_groups(channels: int) -> int:
    """NCSN++'s number of groups: at least four channels in each, at most 32 groups."""
    return max(1, min(channels // 4, 32))


def resolutions(image_size: int | Sequence[int], levels: int) -> list[int]:
    """The longer side at each level; an attention resolution is compared with it."""
    side = image_size if isinstance(image_size, int) else max(image_size)
    return [side // 2**level for level in range(levels)]


def spatial_rank(image_size: int | Sequence[int]) -> int:
    """The number of spatial axes: a bare int is a square image.

    Raises:
        ValueError: a rank without convolutions, or a size that is not positive.
    """
    sizes = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sizes) not in _CONV or min(sizes) < 1:
        raise ValueError(
            f"image_size {image_size!r} is not a size; give one int (a square image) or one positive int "
            "for each of 1, 2 or 3 spatial axes."
        )
    return len(sizes)


def check_divisible(shape: Sequence[int], *, channels: int, rank: int, factor: int) -> None:
    """Refuse a sample shape (C, ...) that a U-Net of total down-sampling ``factor`` cannot process.

    Raises:
        ValueError: naming the axis and the nearest sizes that work.
    """
    if len(shape) != rank + 1:
        raise ValueError(
            f"sample shape {tuple(shape)} has {len(shape) - 1} spatial axes; this network has {rank}."
        )
    if shape[0] != channels:
        raise ValueError(
            f"sample shape {tuple(shape)} has {shape[0]} channels; this network takes {channels}."
        )
    for size in shape[1:]:
        if size < factor or size % factor:
            below = size // factor * factor
            near = f"{below} or {below + factor}" if below else f"{factor}"
            raise ValueError(
                f"sample shape {tuple(shape)}: size {size} does not divide by {factor}, the network's total "
                f"down-sampling; allowed are multiples of {factor}, the nearest {near}. "
                "Resize or pad the data, or give the network fewer levels (channel_mult)."
            )


class ResBlock(nn.Module):
    """Two convolutions with a shortcut, told the time by an addition between them.

    ``h = conv_out(dropout(act(norm_out(conv_in(r(act(norm_in(x)))) + time_proj(act(emb))))))``;
    the output is ``shortcut(r(x)) + h``, divided by sqrt 2 with ``skip_rescale``, where ``r`` is the
    optional resampling (Ho et al. 2020; BigGAN's variant in Song et al. 2021, appendix H).

    Args:
        emb_channels: width of the embedding, None for a block that is told nothing.
        groups: of each normalisation, before and after.
        shortcut: None where the input is added as it is.
        resample: applied to the state and to the shortcut's input.
        init_scale: of the last convolution; 0 starts the block as its shortcut.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        rank: int,
        emb_channels: int | None,
        groups: Sequence[int],
        act: nn.Module,
        dropout: float,
        shortcut: nn.Module | None,
        resample: nn.Module | None = None,
        skip_rescale: bool = False,
        init_scale: float = 0.0,
    ) -> None:
        super().__init__()
        self.act = act
        self.norm_in = group_norm(in_channels, groups=groups[0])
        self.conv_in = conv(rank, in_channels, out_channels)
        self.time_proj = None if emb_channels is None else linear(emb_channels, out_channels)
        self.norm_out = group_norm(out_channels, groups=groups[1])
        self.dropout = nn.Dropout(dropout)
        self.conv_out = conv(rank, out_channels, out_channels, init_scale=init_scale)
        self.shortcut = shortcut
        self.resample = resample
        self.gain = math.sqrt(0.5) if skip_rescale else 1.0

    def forward(self, x: Tensor, emb: Tensor | None) -> Tensor:
        h = self.act(self.norm_in(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = self.conv_in(h)
        if self.time_proj is not None:
            shift = self.time_proj(self.act(emb))
            h = h + shift.reshape(*shift.shape, *[1] * (h.ndim - 2))
        h = self.conv_out(self.dropout(self.act(self.norm_out(h))))
        if self.shortcut is not None:
            x = self.shortcut(x)
        return x + h if self.gain == 1.0 else (x + h) * self.gain
