"""Blocks of the ADM networks, for signals of one, two or three spatial dimensions.

Nichol and Dhariwal, "Improved denoising diffusion probabilistic models" (2021), appendix A, and
Dhariwal and Nichol, "Diffusion models beat GANs on image synthesis" (2021), section 3.

Every block is called with the features and the activated time embedding, so that a ``Stage`` can hold
blocks of any kind; those without time dependence leave the embedding aside.
"""

from __future__ import annotations

import abc
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

_CONV: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, type[nn.Module]] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
_MEAN_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def per_axis(dims: int, first: int, others: int) -> tuple[int, ...]:
    """One integer per spatial axis. In three dimensions the first axis (depth or time) is never resampled."""
    return (first, others, others) if dims == 3 else (others,) * dims


def conv(
    dims: int, in_channels: int, out_channels: int, size: int = 3, stride: int = 1, *, zero: bool = False
) -> nn.Module:
    """A convolution that keeps the spatial size at stride 1; ``zero`` starts it at zero."""
    steps = per_axis(dims, 1, stride)
    layer = _CONV[dims](in_channels, out_channels, size, stride=steps, padding=size // 2)
    return zeroed(layer) if zero else layer


def zeroed(layer: nn.Module) -> nn.Module:
    """Start a residual branch at zero, so that an untrained block is the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    """Group normalisation.

    Raises:
        ValueError: the groups do not divide the channels.
    """
    if channels % groups:
        raise ValueError(
            f"{channels} channels cannot be normalised in {groups} groups; choose channels (times each "
            f"channel_mult) that are multiples of {groups}, or a norm_groups that divides {channels}."
        )
    return nn.GroupNorm(groups, channels)


def sinusoidal(labels: Tensor, channels: int, max_period: float = 10000.0) -> Tensor:
    """Sinusoidal embedding, cosines first: ``cos(w_i l), sin(w_i l)`` with ``w_i = max_period^(-i / half)``.

    Args:
        labels: (B,), any real numbers.
        channels: size of the embedding; an odd one ends with a zero.

    Returns:
        (B, channels), in at least single precision: labels reach 1000, where half has a spacing of 0.5.
    """
    half = channels // 2
    dtype = torch.promote_types(labels.dtype, torch.float32)
    index = torch.arange(half, dtype=dtype, device=labels.device)
    phase = labels.to(dtype)[:, None] * torch.exp(-math.log(max_period) * index / half)
    return F.pad(torch.cat([phase.cos(), phase.sin()], dim=-1), (0, channels % 2))


class TimeEmbedding(nn.Module):
    """Two linear layers over the sinusoidal embedding of the labels, (B,) -> (B, emb_channels)."""

    def __init__(self, *, channels: int, emb_channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.linear1 = nn.Linear(channels, emb_channels)
        self.linear2 = nn.Linear(emb_channels, emb_channels)

    def forward(self, labels: Tensor) -> Tensor:
        embedding = sinusoidal(labels, self.channels).to(self.linear1.weight.dtype)
        return self.linear2(F.silu(self.linear1(embedding)))


class Block(nn.Module, abc.ABC):
    """A map of features (B, C, ...) given the activated time embedding (B, E)."""

    @abc.abstractmethod
    def forward(self, h: Tensor, emb: Tensor) -> Tensor: ...


class Resample(nn.Module, abc.ABC):
    """Change of size without parameters, as a residual block does it on both of its branches."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.dims = dims

    @abc.abstractmethod
    def forward(self, h: Tensor) -> Tensor: ...


class Halve(Resample):
    """Mean over pairs of neighbours along each resampled axis."""

    def forward(self, h: Tensor) -> Tensor:
        return _MEAN_POOL[self.dims](h, per_axis(self.dims, 1, 2))


class Double(Resample):
    """Every value twice along each resampled axis."""

    def forward(self, h: Tensor) -> Tensor:
        factors = [float(factor) for factor in per_axis(self.dims, 1, 2)]
        return F.interpolate(h, scale_factor=factors, mode="nearest")


class ResBlock(Block):
    """Residual block: ``skip(r(x)) + conv(act(film(norm(conv(r(act(norm(x))))))))``.

    The embedding either scales and shifts the second normalisation (FiLM: ``norm(h) (1 + a) + b``) or is
    added before it. ``r`` is the optional change of size; it comes before the first convolution.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        emb_channels: int,
        dims: int,
        dropout: float,
        film: bool,
        norm_groups: int,
        checkpointed: bool,
        resample: Resample | None = None,
    ) -> None:
        super().__init__()
        self.film = film
        self.dropout = dropout
        self.checkpointed = checkpointed
        self.resample = resample
        self.norm1 = group_norm(in_channels, norm_groups)
        self.conv1 = conv(dims, in_channels, out_channels)
        self.emb = nn.Linear(emb_channels, 2 * out_channels if film else out_channels)
        self.norm2 = group_norm(out_channels, norm_groups)
        self.conv2 = conv(dims, out_channels, out_channels, zero=True)
        self.skip = conv(dims, in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        if self.checkpointed and torch.is_grad_enabled():
            return checkpoint(self._evaluate, h, emb, use_reentrant=False)
        return self._evaluate(h, emb)

    def _evaluate(self, x: Tensor, emb: Tensor) -> Tensor:
        h = F.silu(self.norm1(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = self.conv1(h)
        e = self.emb(emb)
        e = e.reshape(*e.shape, *(1,) * (h.ndim - 2))
        if self.film:
            scale, shift = e.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + e)
        h = F.dropout(F.silu(h), self.dropout, self.training)
        return self.skip(x) + self.conv2(h)


class MeanDownsample(Block):
    """Half the size by averaging."""

    def __init__(self, *, dims: int) -> None:
        super().__init__()
        self.resample = Halve(dims)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        return self.resample(h)


class ConvDownsample(Block):
    """Half the size by a convolution of stride 2."""

    def __init__(self, *, channels: int, dims: int) -> None:
        super().__init__()
        self.conv = conv(dims, channels, channels, stride=2)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        return self.conv(h)


class NearestUpsample(Block):
    """Twice the size by repetition, then a convolution if ``convolved``."""

    def __init__(self, *, channels: int, dims: int, convolved: bool) -> None:
        super().__init__()
        self.resample = Double(dims)
        self.conv = conv(dims, channels, channels) if convolved else nn.Identity()

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        return self.conv(self.resample(h))


class TransposedUpsample(Block):
    """Twice the size by a transposed convolution: zeros between the values, then a kernel of size 4."""

    def __init__(self, *, channels: int, dims: int) -> None:
        super().__init__()
        size, stride = per_axis(dims, 3, 4), per_axis(dims, 1, 2)
        self.deconv = _TRANSPOSED[dims](channels, channels, size, stride=stride, padding=1)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        return self.deconv(h)


class Stage(nn.Module):
    """Named blocks in a row."""

    def __init__(self, **blocks: Block) -> None:
        super().__init__()
        for name, block in blocks.items():
            self.add_module(name, block)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        for block in self.children():
            h = block(h, emb)
        return h
