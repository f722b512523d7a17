"""NCSN++, the U-Net with filters and image pyramids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, TypeAlias, final, get_args

import torch
from torch import Tensor, nn

from models.base import Network, register_model
from models.blocks.activation import activation
from models.blocks.attention import SingleHeadAttention
from models.blocks.block import Block, Level, ModuleList
from models.blocks.conditioning import refuse_unknown
from models.blocks.convolution import Pointwise, conv, linear
from models.blocks.embeddings import (
    ClassEmbedding,
    ClassFeatures,
    GaussianFourier,
    TimeEmbedding,
    augmentation_embedding,
    check_classes,
    level_at,
    plus_augmentation,
    plus_class,
    sinusoidal,
)
from models.blocks.normalization import ncsnpp_norm
from models.blocks.pyramid import Combine, Readout
from models.blocks.ranges import Blocks, Channels, Multiple, Resolution, Share
from models.blocks.resample import Downsample, Resampling, Upsample
from models.blocks.residual import ResBlock, ResLayers
from models.blocks.sizes import check_divisible, resolutions, spatial_rank
from sde_lib.timetable import tabulated

Embedding: TypeAlias = Literal["fourier", "positional"]
ResBlockKind: TypeAlias = Literal["biggan", "ddpm"]
Pyramid: TypeAlias = Literal["none", "output_skip", "residual"]
InputPyramid: TypeAlias = Literal["none", "input_skip", "residual"]
Combination: TypeAlias = Literal["sum", "cat"]

_CHOICES = {
    "embedding": get_args(Embedding),
    "resblock": get_args(ResBlockKind),
    "progressive": get_args(Pyramid),
    "progressive_input": get_args(InputPyramid),
    "progressive_combine": get_args(Combination),
}


@final
@register_model(name="ncsnpp")
class NCSNpp(Network):
    """NCSN++ with every option (Song et al. 2021, appendix H).

    The defaults are those of score_sde's continuous VE on CIFAR-10; ``DDPMpp`` has others.

    Args:
        in_channels: channels of the state, with everything concatenated to it.
        out_channels: channels of the output, twice ``in_channels`` for learned variances; None for as many as
            come in.
        image_size: one number for a square image, or one for each of 1, 2 or 3 spatial axes. It only says
            where attention goes: other sizes run too, see ``check_shape``.
        channels: channels at the first level; the time embedding has four times as many.
        channel_mult: channels of each level, in multiples of ``channels``.
        num_res_blocks: residual blocks of each level on the way down; there is one more on the way up.
        attention_resolutions: resolutions of the levels with attention, in pixels along the longer side.
        resample_with_conv: whether down- and up-sampling between ``ddpm`` blocks convolve.
        dropout: probability, before the last convolution of each block.
        nonlinearity: activation: ``swish``, ``relu``, ``elu`` or ``lrelu``.
        conditional: whether the network is told the time.
        centered: whether data are in [-1, 1]; otherwise in [0, 1], and rescaled on entry.
        embedding: of the time: ``fourier`` (random Fourier features of log sigma: labels are sigma) or
            ``positional`` (sinusoids of the label).
        fourier_scale: standard deviation of the random frequencies.
        fir_kernel: taps of the filter of every down- and up-sampling; None for the mean and repetition.
        resblock: ``biggan`` (resamples inside the block) or ``ddpm`` (between blocks).
        skip_rescale: divide the sum of block and shortcut by sqrt 2.
        progressive: pyramid of the output: ``output_skip`` (a sum of images, one for each level), ``residual``
            (features, added at each level) or ``none``.
        progressive_input: pyramid of the input: ``input_skip`` (the down-sampled input, combined at each
            level), ``residual`` (its features, added) or ``none``.
        progressive_combine: ``sum`` or ``cat``, of features and an ``input_skip``.
        init_scale: of the last convolution of each block and of the outputs, see ``variance_scaling_``; with 0
            the network's output starts at zero.
        scale_by_sigma: divide the output by sigma: the label itself with ``fourier``, else ``sigmas[label]``.
        sigmas: noise level of each label, for ``scale_by_sigma`` with ``positional``.
        use_checkpoint: gradient checkpointing, which stores only the blocks' inputs for the backward pass and
            computes the rest again.
        num_classes: number of class labels that an embedding is learned for, keyword ``y`` of ``forward``;
            None for an unconditional network.
        class_features: tell the class with the features of the time, by a linear map, as EDM does; the label
            ``num_classes`` then stands for no class.
        augment_labels: how many numbers say what augmentation did to a sample, keyword ``augment`` of ``forward``, (B,
            augment_labels); without them nothing was done. 0: the network is told nothing of it.

    Raises:
        ValueError: a choice that is none, or ``scale_by_sigma`` without the sigmas it needs.
    """

    sigmas: Tensor | None

    keeps_nothing = True

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int | None = None,
        image_size: int | Sequence[int] = 32,
        channels: Channels = 128,
        channel_mult: Sequence[Multiple] = (1, 2, 2, 2),
        num_res_blocks: Blocks = 4,
        attention_resolutions: Sequence[Resolution] = (16,),
        resample_with_conv: bool = True,
        dropout: Share = 0.1,
        nonlinearity: str = "swish",
        conditional: bool = True,
        centered: bool = False,
        embedding: Embedding = "fourier",
        fourier_scale: float = 16.0,
        fir_kernel: Sequence[float] | None = (1, 3, 3, 1),
        resblock: ResBlockKind = "biggan",
        skip_rescale: bool = True,
        progressive: Pyramid = "none",
        progressive_input: InputPyramid = "residual",
        progressive_combine: Combination = "sum",
        init_scale: float = 0.0,
        scale_by_sigma: bool = True,
        sigmas: Sequence[float] | Tensor | None = None,
        use_checkpoint: bool = False,
        num_classes: int | None = None,
        class_features: bool = False,
        augment_labels: int = 0,
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
        emb_channels = 4 * channels
        self.time_embedding = None
        if conditional:
            self.time_embedding = TimeEmbedding(
                dense_in=linear(features, emb_channels, init_scale=1.0),
                act=act,
                dense_out=linear(emb_channels, emb_channels, init_scale=1.0),
            )
        self.augment_embedding = augmentation_embedding(augment_labels, features)
        self.class_features = self.class_embedding = None
        if num_classes is not None and class_features:
            self.class_features = ClassFeatures(num_classes, features)
        elif num_classes is not None:
            self.class_embedding = ClassEmbedding(num_classes, emb_channels)
        told = conditional or num_classes is not None

        data_channels = in_channels if out_channels is None else out_channels
        resize = partial(_resize, rank, fir_kernel)
        biggan = resblock == "biggan"

        def block(width_in: int, width_out: int, resample: Resampling | None = None) -> ResBlock:
            shortcut: nn.Module | None = None
            if width_in != width_out or resample is not None:
                shortcut = (
                    conv(rank, width_in, width_out, kernel=1, init_scale=1.0)
                    if biggan
                    else Pointwise(width_in, width_out)
                )
            layers = ResLayers(
                norm_in=ncsnpp_norm(width_in),
                conv_in=conv(rank, width_in, width_out, init_scale=1.0),
                embedding=linear(emb_channels, width_out, init_scale=1.0) if told else None,
                norm_out=ncsnpp_norm(width_out),
                conv_out=conv(rank, width_out, width_out, init_scale=init_scale),
                shortcut=shortcut,
            )
            return ResBlock(
                layers,
                act=act,
                dropout=dropout,
                skip_rescale=skip_rescale,
                resample=resample,
                checkpointed=use_checkpoint,
            )

        def attention(width: int) -> SingleHeadAttention:
            return SingleHeadAttention(
                width,
                norm=ncsnpp_norm(width),
                init_scale=init_scale,
                skip_rescale=skip_rescale,
                checkpointed=use_checkpoint,
            )

        def change(kind: type[Downsample] | type[Upsample], width: int) -> Block:
            if biggan:
                return block(width, width, resize(kind))
            return resize(kind, channels=width, with_conv=resample_with_conv)

        def readout(width: int, out: int, scale: float = init_scale) -> Readout:
            return Readout(rank, width, out, act=act, init_scale=scale)

        widths = [channels * mult for mult in channel_mult]
        last = len(widths) - 1
        attend = [size in tuple(attention_resolutions) for size in resolutions(image_size, len(widths))]

        self.input_conv = conv(rank, in_channels, channels, init_scale=1.0)
        self.pyramid_down = resize(Downsample) if progressive_input == "input_skip" else None
        skips, width, pyramid_width = [channels], channels, in_channels
        down = []
        for level, out_width in enumerate(widths):
            blocks: list[Block] = []
            for _ in range(num_res_blocks):
                blocks.append(block(width, out_width))
                width = out_width
                skips.append(width)
            attentions: list[Block | None] = [attention(width) if attend[level] else None for _ in blocks]
            resample: Block | None = None
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
        self.down: ModuleList[Level] = ModuleList(down)

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
        self.up: ModuleList[Level] = ModuleList(up)
        assert not skips

        self.readout = None if progressive == "output_skip" else readout(width, data_channels)

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse a sample shape (C, ...) whose channels, axes or sizes do not fit (see ``Network``)."""
        check_divisible(shape, channels=self.in_channels, rank=self.rank, factor=self.factor)

    def check_classes(self, y: Tensor) -> None:
        """Refuse class labels out of range; call it before a run, it waits for the device."""
        check_classes(self.class_embedding, y)

    def forward(
        self,
        x: Tensor,
        labels: Tensor,
        *,
        y: Tensor | None = None,
        augment: Tensor | None = None,
        **cond: Any,
    ) -> Tensor:
        """Evaluate the network (see ``Network``); with the Fourier embedding ``labels`` (B,) are sigma."""
        refuse_unknown(cond, "y")
        emb = self._embed(labels, y, augment)
        emb = None if emb is None else self.act(emb)  # which every block begins with, once
        skips = self._descend(x if self.centered else 2 * x - 1, emb)
        h = self.middle_attention(self.middle_in(skips[-1], emb), emb)
        h = self.middle_out(h, emb)
        h = self._ascend(h, skips, emb)
        if self.scale_by_sigma:
            h = h / tabulated(self._level, labels).to(h.dtype).reshape(-1, *[1] * (h.ndim - 1))
        return h

    def _embed(self, labels: Tensor, y: Tensor | None, augment: Tensor | None) -> Tensor | None:
        time: Tensor | None = None
        if self.time_embedding is not None:
            told = plus_augmentation(tabulated(self._features, labels), self.augment_embedding, augment)
            if self.class_features is not None:
                told = told + self.class_features(y)
            time = self.time_embedding(told)
            if self.class_features is not None:
                return time
        return plus_class(time, self.class_embedding, y)

    def _features(self, labels: Tensor) -> Tensor:
        told: Tensor = (
            sinusoidal(labels, self.channels) if self.fourier is None else self.fourier(labels.log())
        )
        return told

    def _level(self, labels: Tensor) -> Tensor:
        return labels if self.sigmas is None else level_at(self.sigmas, labels)

    def _descend(self, x: Tensor, emb: Tensor | None) -> list[Tensor]:
        """The features that the way up takes, in the order they arise."""
        h, pyramid = self.input_conv(x), x
        skips = [h]
        for level in self.down:
            for block, attention in level.units():
                h = attention(block(h, emb), emb)
                skips.append(h)
            if level.resample is None:
                break
            h = level.resample(h, emb)
            if self.pyramid_down is not None and level.pyramid is not None:
                pyramid = self.pyramid_down(pyramid)
                h = level.pyramid(pyramid, h)
            elif level.pyramid is not None:
                h = pyramid = self._add(level.pyramid(pyramid), h)
            skips.append(h)
        return skips

    def _ascend(self, h: Tensor, skips: list[Tensor], emb: Tensor | None) -> Tensor:
        pyramid: Tensor | None = None
        for level in self.up:
            for block, attention in level.units():
                h = attention(block(torch.cat([h, skips.pop()], dim=1), emb), emb)
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
                h = level.resample(h, emb)
        if self.readout is not None:
            pyramid = self.readout(h)
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
