"""The DDPM U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from models.base import Network, register_model
from models.blocks.activation import activation
from models.blocks.attention import SingleHeadAttention
from models.blocks.block import Block, Level, ModuleList
from models.blocks.conditioning import refuse_unknown
from models.blocks.convolution import Pointwise, conv, linear
from models.blocks.embeddings import (
    TimeEmbedding,
    Told,
    augmentation_embedding,
    check_classes,
    conditioning,
    level_at,
    plus_augmentation,
    plus_class,
    sinusoidal,
)
from models.blocks.normalization import ddpm_norm
from models.blocks.ranges import Blocks, Channels, Multiple, Resolution, Share
from models.blocks.resample import Downsample, Upsample
from models.blocks.residual import ResBlock, ResLayers
from models.blocks.sizes import check_divisible, resolutions, spatial_rank
from sde_lib.timetable import tabulated


@final
class Middle(nn.Module):
    """Block, attention, block, at the lowest resolution."""

    def __init__(self, block_in: Block, attention: Block, block_out: Block) -> None:
        super().__init__()
        self.block_in = block_in
        self.attention = attention
        self.block_out = block_out

    def forward(self, h: Tensor, emb: Tensor | None) -> Tensor:
        h = self.attention(self.block_in(h, emb), emb)
        out: Tensor = self.block_out(h, emb)
        return out


@final
@register_model(name="ddpm")
class DDPM(Network):
    """The U-Net of DDPM (Ho et al. 2020, appendix B) in score_sde's arrangement.

    Residual blocks told the time by addition, self-attention at the listed resolutions and in the middle, and
    a skip connection from every block and down-sampling.

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
        attention_after_every_up_block: otherwise once per level on the way up, after the last block, as in
            score_sde (the original and diffusers attend after every one).
        resample_with_conv: whether down- and up-sampling convolve; otherwise they average and repeat.
        dropout: probability, before the last convolution of each block.
        nonlinearity: activation: ``swish``, ``relu``, ``elu`` or ``lrelu``.
        conditional: whether the network is told the time.
        centered: whether data are in [-1, 1]; otherwise in [0, 1], and rescaled on entry.
        scale_by_sigma: divide the output by ``sigmas[label]`` (score_sde's networks trained with SMLD).
        sigmas: noise level of each label, for ``scale_by_sigma``.
        head_channels: channels of each head of the attention; None for one head as wide as the level.
        downsample_padding: zeros ``behind`` each axis, as in DDPM, or on ``both`` sides, as in diffusers' training
            example.
        norm_eps: added to the variance in every normalisation.
        time_cosines_first: order of the time embedding's features, see ``sinusoidal``.
        time_endpoint: whether its lowest frequency is 1 / 10000 exactly, see ``sinusoidal``.
        use_checkpoint: gradient checkpointing, which stores only the blocks' inputs for the backward pass and
            computes the rest again.
        num_classes: number of class labels that an embedding is learned for, keyword ``y`` of ``forward``;
            None for an unconditional network.
        told: what ``y`` is: a ``class`` label, a ``number`` that is embedded as the time is, or a ``vector`` of four
            times ``channels`` that is added to its embedding; the latter two go without num_classes.
        augment_labels: how many numbers say what augmentation did to a sample, keyword ``augment`` of ``forward``, (B,
            augment_labels); without them nothing was done. 0: the network is told nothing of it.

    Raises:
        ValueError: a size that is none, ``scale_by_sigma`` without ``sigmas``, an unknown nonlinearity.
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
        num_res_blocks: Blocks = 2,
        attention_resolutions: Sequence[Resolution] = (16,),
        attention_after_every_up_block: bool = False,
        resample_with_conv: bool = True,
        dropout: Share = 0.1,
        nonlinearity: str = "swish",
        conditional: bool = True,
        centered: bool = True,
        scale_by_sigma: bool = False,
        sigmas: Sequence[float] | Tensor | None = None,
        head_channels: Channels | None = None,
        downsample_padding: Literal["behind", "both"] = "behind",
        norm_eps: float = 1e-6,
        time_cosines_first: bool = False,
        time_endpoint: bool = True,
        use_checkpoint: bool = False,
        num_classes: int | None = None,
        told: Told = "class",
        augment_labels: int = 0,
    ) -> None:
        super().__init__()
        if scale_by_sigma and sigmas is None:
            raise ValueError("scale_by_sigma needs sigmas, the noise level of each label; pass sigmas=.")
        self.in_channels = in_channels
        self.rank = rank = spatial_rank(image_size)
        self.factor = 2 ** (len(channel_mult) - 1)
        self.channels = channels
        self.centered = centered
        self.head_channels = head_channels
        self.downsample_padding = downsample_padding
        self.norm_eps = norm_eps
        self.time_cosines_first = time_cosines_first
        self.time_endpoint = time_endpoint
        self.attention_after_every_up_block = attention_after_every_up_block
        table = torch.as_tensor(sigmas, dtype=torch.float32) if scale_by_sigma else None
        self.register_buffer("sigmas", table, persistent=False)

        act = activation(nonlinearity)
        emb_channels = 4 * channels
        self.time_embedding = None
        if conditional:
            self.time_embedding = TimeEmbedding(
                dense_in=linear(channels, emb_channels, init_scale=1.0),
                act=act,
                dense_out=linear(emb_channels, emb_channels, init_scale=1.0),
            )
        self.augment_embedding = augmentation_embedding(augment_labels, channels)
        self.class_embedding = conditioning(
            told,
            num_classes,
            channels,
            emb_channels,
            cosines_first=time_cosines_first,
            endpoint=time_endpoint,
        )
        embeds = conditional or self.class_embedding is not None

        def block(width_in: int, width_out: int) -> ResBlock:
            shortcut = None if width_in == width_out else Pointwise(width_in, width_out)
            layers = ResLayers(
                norm_in=ddpm_norm(width_in, eps=norm_eps),
                conv_in=conv(rank, width_in, width_out, init_scale=1.0),
                embedding=linear(emb_channels, width_out, init_scale=1.0) if embeds else None,
                norm_out=ddpm_norm(width_out, eps=norm_eps),
                conv_out=conv(rank, width_out, width_out, init_scale=0.0),
                shortcut=shortcut,
            )
            return ResBlock(layers, act=act, dropout=dropout, checkpointed=use_checkpoint)

        def attention(width: int) -> SingleHeadAttention:
            if width % (head_channels or width):
                raise ValueError(
                    f"{width} channels do not divide into attention heads of {head_channels}; choose "
                    "head_channels that divides them at every level with attention and at the last."
                )
            heads = width // (head_channels or width)
            return SingleHeadAttention(
                width, norm=ddpm_norm(width, eps=norm_eps), heads=heads, checkpointed=use_checkpoint
            )

        widths = [channels * mult for mult in channel_mult]
        attend = [size in tuple(attention_resolutions) for size in resolutions(image_size, len(widths))]

        self.input_conv = conv(rank, in_channels, channels, init_scale=1.0)
        skips = [channels]
        down, width = [], channels
        for level, out_width in enumerate(widths):
            blocks: list[Block] = []
            for _ in range(num_res_blocks):
                blocks.append(block(width, out_width))
                width = out_width
                skips.append(width)
            resample: Block | None = None
            if level < len(widths) - 1:
                resample = Downsample(
                    rank, in_channels=width, with_conv=resample_with_conv, padding=downsample_padding
                )
                skips.append(width)
            down.append(
                Level(blocks, [attention(width) if attend[level] else None for _ in blocks], resample)
            )
        self.down: ModuleList[Level] = ModuleList(down)

        self.middle = Middle(block(width, width), attention(width), block(width, width))

        up = []
        for level, out_width in reversed(list(enumerate(widths))):
            blocks = []
            for _ in range(num_res_blocks + 1):
                blocks.append(block(width + skips.pop(), out_width))
                width = out_width
            last = num_res_blocks
            attentions = [
                attention(width) if attend[level] and (attention_after_every_up_block or i == last) else None
                for i in range(len(blocks))
            ]
            resample = Upsample(rank, in_channels=width, with_conv=resample_with_conv) if level else None
            up.append(Level(blocks, attentions, resample))
        self.up: ModuleList[Level] = ModuleList(up)
        assert not skips

        self.output_norm = ddpm_norm(width, eps=norm_eps)
        self.act = act
        self.output_conv = conv(
            rank, width, in_channels if out_channels is None else out_channels, init_scale=0.0
        )

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
        """Evaluate the network (see ``Network``); ``labels`` (B,) may be fractions of an index."""
        refuse_unknown(cond, "y")
        time = None
        if self.time_embedding is not None:
            features = sinusoidal(
                labels,
                self.channels,
                cosines_first=self.time_cosines_first,
                endpoint=self.time_endpoint,
            )
            time = self.time_embedding(plus_augmentation(features, self.augment_embedding, augment))
        emb = plus_class(time, self.class_embedding, y)
        emb = None if emb is None else self.act(emb)  # which every block begins with, once
        h: Tensor = self.input_conv(x if self.centered else 2 * x - 1)
        skips = [h]
        for level in self.down:
            for block, attention in level.units():
                h = attention(block(h, emb), emb)
                skips.append(h)
            if level.resample is not None:
                h = level.resample(h, emb)
                skips.append(h)
        h = self.middle(h, emb)
        for level in self.up:
            for block, attention in level.units():
                h = attention(block(torch.cat([h, skips.pop()], dim=1), emb), emb)
            if level.resample is not None:
                h = level.resample(h, emb)
        h = self.output_conv(self.act(self.output_norm(h)))
        if self.sigmas is not None:
            h = h / tabulated(self._level, labels).reshape(-1, *[1] * (x.ndim - 1))
        return h

    def _level(self, labels: Tensor) -> Tensor:
        assert self.sigmas is not None, "it is asked for where there are levels"
        return level_at(self.sigmas, labels)
