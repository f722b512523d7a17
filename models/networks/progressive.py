"""The U-Net with filters and pyramids, of which NCSN++ and DDPM++ are settings."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from models.base import Network
from models.blocks.attention import Attention
from models.blocks.embeddings import ClassEmbedding, GaussianFourier, TimeEmbedding, level_at, sinusoidal
from models.blocks.layers import (
    Pointwise,
    ResBlock,
    activation,
    check_divisible,
    conv,
    group_norm,
    resolutions,
    small_groups,
    spatial_rank,
)
from models.blocks.resample import Downsample, Upsample

_CHOICES = {
    "embedding": ("fourier", "positional"),
    "resblock": ("biggan", "ddpm"),
    "progressive": ("none", "output_skip", "residual"),
    "progressive_input": ("none", "input_skip", "residual"),
    "progressive_combine": ("sum", "cat"),
}


class Combine(nn.Module):
    """Bring the input pyramid into the features: a pointwise convolution, then their sum or both."""

    def __init__(self, rank: int, pyramid_channels: int, channels: int, *, method: str) -> None:
        super().__init__()
        self.conv = conv(rank, pyramid_channels, channels, kernel=1)
        self.cat = method == "cat"

    def forward(self, pyramid: Tensor, h: Tensor) -> Tensor:
        pyramid = self.conv(pyramid)
        return torch.cat([pyramid, h], dim=1) if self.cat else pyramid + h


class Readout(nn.Module):
    """Normalise, activate, convolve: from features to an image, or to the start of a pyramid."""

    def __init__(
        self, rank: int, channels: int, out_channels: int, *, act: nn.Module, init_scale: float
    ) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups=small_groups(channels))
        self.act = act
        self.conv = conv(rank, channels, out_channels, init_scale=init_scale)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(self.act(self.norm(h)))


class Level(nn.Module):
    """The layers of one resolution.

    Args:
        blocks: in running order, each with its attention or None.
        resample: to the next level, None at the last.
        pyramid: what the level adds to or takes from the pyramid of its direction, None for nothing.
    """

    def __init__(
        self,
        blocks: list[ResBlock],
        attentions: list[Attention | None],
        resample: nn.Module | None,
        pyramid: nn.Module | None,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.attentions = nn.ModuleList(nn.Identity() if a is None else a for a in attentions)
        self.resample = resample
        self.pyramid = pyramid

    def units(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Each block with its attention (the identity for none)."""
        return zip(self.blocks, self.attentions, strict=True)

    def unit_layers(self) -> Iterator[nn.Module]:
        """The blocks and what attention there is, in running order."""
        return (layer for unit in self.units() for layer in unit if not isinstance(layer, nn.Identity))


class ProgressiveUNet(Network, abc.ABC):
    """The network of Song et al. 2021, appendix H: one function with settings; names pick the defaults.

    Args:
        in_channels: of the data (with everything concatenated to it).
        out_channels: default ``in_channels``; more for learned variances.
        image_size: int for a square image, or one int per spatial axis (1, 2 or 3 axes). It only says
            where attention goes: other sizes run too, see ``check_shape``.
        channels: width of the first level.
        channel_mult: width of each level, as a multiple.
        num_res_blocks: per level on the way down; one more on the way up.
        attention_resolutions: compared with the longer side of the feature map.
        resample_with_conv: convolutions in down- and up-sampling between ``ddpm`` blocks.
        dropout: before the last convolution of each block.
        nonlinearity: swish, relu, elu or lrelu.
        conditional: whether the network is told the time.
        centered: whether data are in [-1, 1]; otherwise [0, 1], and rescaled on entry.
        embedding: ``fourier`` (random frequencies of log sigma: labels are sigma) or ``positional``
            (sinusoids of the label).
        fourier_scale: standard deviation of the random frequencies.
        fir_kernel: taps of the filter of every down- and up-sampling; None for nearest and mean.
        resblock: ``biggan`` (resamples inside the block) or ``ddpm`` (between blocks).
        skip_rescale: divide the sum of block and shortcut by sqrt 2.
        progressive: ``output_skip`` (a sum of images, one per level), ``residual`` (features, added at
            each level) or ``none``.
        progressive_input: ``input_skip`` (the down-sampled input, combined at each level), ``residual``
            (its features, added) or ``none``.
        progressive_combine: ``sum`` or ``cat``, of an ``input_skip``.
        init_scale: of the last convolution of each block and of the outputs; 0 starts silent.
        scale_by_sigma: divide the output by sigma: the label itself with ``fourier``, else ``sigmas``
            at the truncated label.
        sigmas: noise levels by label, for ``scale_by_sigma`` with ``positional``.
        num_classes: learn an embedding of the class label, keyword ``y`` of ``forward``.

    Raises:
        ValueError: a choice that is none, or ``scale_by_sigma`` without the sigmas it needs.
    """

    sigmas: Tensor | None

    @abc.abstractmethod
    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int | None,
        image_size: int | Sequence[int],
        channels: int,
        channel_mult: Sequence[int],
        num_res_blocks: int,
        attention_resolutions: Sequence[int],
        resample_with_conv: bool,
        dropout: float,
        nonlinearity: str,
        conditional: bool,
        centered: bool,
        embedding: str,
        fourier_scale: float,
        fir_kernel: Sequence[float] | None,
        resblock: str,
        skip_rescale: bool,
        progressive: str,
        progressive_input: str,
        progressive_combine: str,
        init_scale: float,
        scale_by_sigma: bool,
        sigmas: Sequence[float] | Tensor | None,
        num_classes: int | None,
    ) -> None:
        super().__init__()
        given = (embedding, resblock, progressive, progressive_input, progressive_combine)
        for (setting, allowed), choice in zip(_CHOICES.items(), given, strict=True):
            if choice not in allowed:
                raise ValueError(f"unknown {setting} {choice!r}; allowed: {', '.join(allowed)}.")
        by_table = scale_by_sigma and embedding == "positional"
        if by_table and sigmas is None:
            raise ValueError(
                "scale_by_sigma with the positional embedding needs sigmas, the noise level of each label; "
                "pass sigmas=, or embedding='fourier', whose labels are sigma."
            )
        self.in_channels = in_channels
        self.channels = channels
        self.rank = rank = spatial_rank(image_size)
        self.factor = 2 ** (len(channel_mult) - 1)
        self.centered = centered
        self.log_labels = embedding == "fourier"
        self.scale_by_sigma = scale_by_sigma
        self.skip_rescale = skip_rescale
        self.progressive = progressive
        self.progressive_input = progressive_input
        self.act = act = activation(nonlinearity)
        table = torch.as_tensor(sigmas, dtype=torch.float32) if by_table else None
        self.register_buffer("sigmas", table, persistent=False)

        self.fourier = GaussianFourier(channels, scale=fourier_scale) if embedding == "fourier" else None
        features = 2 * channels if self.fourier is not None else channels
        emb_channels = 4 * channels if conditional or num_classes is not None else None
        self.time_embedding = TimeEmbedding(features, 4 * channels, act=act) if conditional else None
        self.class_embedding = None if num_classes is None else ClassEmbedding(num_classes, 4 * channels)

        data_channels = in_channels if out_channels is None else out_channels
        resize = partial(_resize, rank, fir_kernel)
        biggan = resblock == "biggan"

        def block(width_in: int, width_out: int, resample: nn.Module | None = None) -> ResBlock:
            shortcut: nn.Module | None = None
            if width_in != width_out or resample is not None:
                shortcut = (
                    conv(rank, width_in, width_out, kernel=1) if biggan else Pointwise(width_in, width_out)
                )
            return ResBlock(
                width_in,
                width_out,
                rank=rank,
                emb_channels=emb_channels,
                groups=(small_groups(width_in), small_groups(width_out)),
                act=act,
                dropout=dropout,
                shortcut=shortcut,
                resample=resample,
                skip_rescale=skip_rescale,
                init_scale=init_scale,
            )

        def attention(width: int) -> Attention:
            return Attention(
                width, groups=small_groups(width), init_scale=init_scale, skip_rescale=skip_rescale
            )

        def change(kind: type[Downsample] | type[Upsample], width: int) -> nn.Module:
            if biggan:
                return block(width, width, resize(kind))
            return resize(kind, channels=width, with_conv=resample_with_conv)

        def readout(width: int, out: int, scale: float = init_scale) -> Readout:
            return Readout(rank, width, out, act=act, init_scale=scale)

        widths = [channels * mult for mult in channel_mult]
        last = len(widths) - 1
        attend = [size in tuple(attention_resolutions) for size in resolutions(image_size, len(widths))]

        self.input_conv = conv(rank, in_channels, channels)
        self.pyramid_down = resize(Downsample) if progressive_input == "input_skip" else None
        skips, width, pyramid_width = [channels], channels, in_channels
        down = []
        for level, out_width in enumerate(widths):
            blocks: list[ResBlock] = []
            for _ in range(num_res_blocks):
                blocks.append(block(width, out_width))
                width = out_width
                skips.append(width)
            attentions: list[Attention | None] = [attention(width) if attend[level] else None for _ in blocks]
            resample: nn.Module | None = None
            pyramid: nn.Module | None = None
            if level < last:
                resample = change(Downsample, width)
                if progressive_input == "input_skip":
                    pyramid = Combine(rank, in_channels, width, method=progressive_combine)
                    width *= 2 if progressive_combine == "cat" else 1
                elif progressive_input == "residual":
                    pyramid = resize(Downsample, channels=pyramid_width, out_channels=width, with_conv=True)
                    pyramid_width = width
                skips.append(width)
            down.append(Level(blocks, attentions, resample, pyramid))
        self.down = nn.ModuleList(down)

        self.middle_in = block(width, width)
        self.middle_attention = attention(width)
        self.middle_out = block(width, width)

        self.pyramid_up = resize(Upsample) if progressive == "output_skip" else None
        up = []
        for level in reversed(range(len(widths))):
            blocks = []
            for _ in range(num_res_blocks + 1):
                blocks.append(block(width + skips.pop(), widths[level]))
                width = widths[level]
            attentions = [None for _ in blocks]
            attentions[-1] = attention(width) if attend[level] else None
            pyramid = None
            if progressive == "output_skip":
                pyramid = readout(width, data_channels)
            elif progressive == "residual" and level == last:
                pyramid = readout(width, width, 1.0)
                pyramid_width = width
            elif progressive == "residual":
                pyramid = resize(Upsample, channels=pyramid_width, out_channels=width, with_conv=True)
                pyramid_width = width
            up.append(Level(blocks, attentions, change(Upsample, width) if level else None, pyramid))
        self.up = nn.ModuleList(up)
        assert not skips

        self.readout = None if progressive == "output_skip" else readout(width, data_channels)

    @staticmethod
    def levels(half: nn.ModuleList) -> Iterator[Level]:
        """The levels of ``down`` or ``up``, as what they are."""
        return cast("Iterator[Level]", iter(half))

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse a sample shape (C, ...) whose channels, axes or sizes do not fit (see ``Network``)."""
        check_divisible(shape, channels=self.in_channels, rank=self.rank, factor=self.factor)

    def check_classes(self, y: Tensor) -> None:
        """Refuse class labels out of range; call it before a run, it waits for the device."""
        if self.class_embedding is None:
            raise ValueError("this network knows no classes (num_classes is None), but got labels y.")
        self.class_embedding.check(y)

    def forward(self, x: Tensor, labels: Tensor, *, y: Tensor | None = None, **cond: Any) -> Tensor:
        """Evaluate; ``labels`` (B,) are sigma with the Fourier embedding (see ``Network``)."""
        if cond:
            raise ValueError(f"this network takes no condition {', '.join(sorted(cond))}; it knows y only.")
        emb = self._embed(labels, y)
        skips = self._descend(x if self.centered else 2 * x - 1, emb)
        h = self.middle_out(self.middle_attention(self.middle_in(skips[-1], emb)), emb)
        h = self._ascend(h, skips, emb)
        if self.scale_by_sigma:
            sigma = labels if self.sigmas is None else level_at(self.sigmas, labels)
            h = h / sigma.to(h.dtype).reshape(-1, *[1] * (h.ndim - 1))
        return h

    def _embed(self, labels: Tensor, y: Tensor | None) -> Tensor | None:
        emb = None
        if self.time_embedding is not None:
            told = sinusoidal(labels, self.channels) if self.fourier is None else self.fourier(labels.log())
            emb = self.time_embedding(told)
        if self.class_embedding is not None:
            classes = self.class_embedding(y)
            emb = classes if emb is None else emb + classes
        elif y is not None:
            raise ValueError("this network knows no classes (num_classes is None), but got labels y.")
        return emb

    def _descend(self, x: Tensor, emb: Tensor | None) -> list[Tensor]:
        """The features that the way up takes, in the order they arise."""
        h, pyramid = self.input_conv(x), x
        skips = [h]
        for level in self.levels(self.down):
            for block, attention in level.units():
                h = attention(block(h, emb))
                skips.append(h)
            if level.resample is None:
                break
            h = _change(level.resample, h, emb)
            if self.pyramid_down is not None and level.pyramid is not None:
                pyramid = self.pyramid_down(pyramid)
                h = level.pyramid(pyramid, h)
            elif level.pyramid is not None:
                h = pyramid = self._add(level.pyramid(pyramid), h)
            skips.append(h)
        return skips

    def _ascend(self, h: Tensor, skips: list[Tensor], emb: Tensor | None) -> Tensor:
        pyramid: Tensor | None = None
        for level in self.levels(self.up):
            for block, attention in level.units():
                h = attention(block(torch.cat([h, skips.pop()], dim=1), emb))
            if self.pyramid_up is not None and level.pyramid is not None:
                image = level.pyramid(h)
                pyramid = image if pyramid is None else self.pyramid_up(pyramid) + image
            elif level.pyramid is not None:
                # The lowest level only starts the pyramid; from there on the features are the pyramid.
                if pyramid is None:
                    pyramid = level.pyramid(h)
                else:
                    h = pyramid = self._add(level.pyramid(pyramid), h)
            if level.resample is not None:
                h = _change(level.resample, h, emb)
        if self.readout is not None:
            return self.readout(h)
        assert pyramid is not None
        return pyramid

    def _add(self, a: Tensor, b: Tensor) -> Tensor:
        return (a + b) * math.sqrt(0.5) if self.skip_rescale else a + b


def _resize(
    rank: int,
    taps: Sequence[float] | None,
    kind: type[Downsample] | type[Upsample],
    *,
    channels: int | None = None,
    out_channels: int | None = None,
    with_conv: bool = False,
) -> Downsample | Upsample:
    return kind(rank, in_channels=channels, out_channels=out_channels, with_conv=with_conv, fir=taps)


def _change(resample: nn.Module, h: Tensor, emb: Tensor | None) -> Tensor:
    """To the next level: a block that resamples is told the time, a plain resampling is not."""
    return resample(h, emb) if isinstance(resample, ResBlock) else resample(h)
