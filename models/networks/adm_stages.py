"""How the ADM networks are put together from their blocks: levels, stages, and what all blocks share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor, nn

from models.blocks.attention import MultiHeadAttention
from models.blocks.block import Block, ModuleList, Stage
from models.blocks.convolution import conv, linear
from models.blocks.embeddings import TimeEmbedding, sinusoidal
from models.blocks.initialisation import zeroed
from models.blocks.normalization import group_norm
from models.blocks.resample import Downsample, Resampling, TransposedUpsample, Upsample, factors_of
from models.blocks.residual import ResBlock, ResLayers, ResNames

_NAMES = ResNames("norm1", "conv1", "emb", "norm2", "conv2", "skip")


@dataclass(frozen=True)
class BlockFactory:
    """Makes the blocks of one network from the settings that they share."""

    dims: int
    emb_channels: int
    dropout: float
    film: bool
    norm_groups: int
    num_heads: int
    num_head_channels: int | None
    heads_first: bool
    conv_resample: bool
    upsample: Literal["nearest", "transposed"]
    resblock_updown: bool
    checkpointed: bool

    def __post_init__(self) -> None:
        if self.dims not in (1, 2, 3):
            raise ValueError(f"samples of {self.dims!r} spatial axes: this network has 1, 2 or 3 of them.")
        if self.upsample not in ("nearest", "transposed"):
            raise ValueError(f"unknown upsample {self.upsample!r}; allowed: 'nearest', 'transposed'.")
        if self.upsample == "transposed" and (self.resblock_updown or not self.conv_resample):
            raise ValueError(
                "upsample='transposed' is a learned resampling of its own: it needs conv_resample=True and "
                "resblock_updown=False; change these or use upsample='nearest'."
            )

    def res(self, in_channels: int, out_channels: int, resample: Resampling | None = None) -> ResBlock:
        """A residual block."""
        layers = ResLayers(
            norm_in=group_norm(in_channels, self.norm_groups),
            conv_in=conv(self.dims, in_channels, out_channels),
            embedding=linear(self.emb_channels, 2 * out_channels if self.film else out_channels),
            norm_out=group_norm(out_channels, self.norm_groups),
            conv_out=zeroed(conv(self.dims, out_channels, out_channels)),
            shortcut=(
                conv(self.dims, in_channels, out_channels, kernel=1) if in_channels != out_channels else None
            ),
        )
        return ResBlock(
            layers,
            act=nn.SiLU(),
            dropout=self.dropout,
            film=self.film,
            resample=resample,
            checkpointed=self.checkpointed,
            names=_NAMES,
        )

    def attention(self, channels: int, num_heads: int | None = None) -> MultiHeadAttention:
        """Self-attention; the number of channels of a head, where it is set, decides how many heads there are."""
        heads = num_heads or self.num_heads
        if self.num_head_channels is not None:
            if channels % self.num_head_channels:
                raise ValueError(
                    f"{channels} channels do not divide into heads of num_head_channels="
                    f"{self.num_head_channels}; choose one that divides them at every level with attention."
                )
            heads = channels // self.num_head_channels
        return MultiHeadAttention(
            channels,
            norm=group_norm(channels, self.norm_groups),
            heads=heads,
            heads_first=self.heads_first,
            checkpointed=self.checkpointed,
        )

    def down(self, channels: int) -> Block:
        """Down-sampling from one level to the next."""
        make = partial(Downsample, self.dims, padding="both", keep_depth=True, init_scale=None)
        if self.resblock_updown:
            return self.res(channels, channels, make())
        return make(in_channels=channels, with_conv=self.conv_resample)

    def up(self, channels: int) -> Block:
        """Up-sampling from one level to the next."""
        make = partial(Upsample, self.dims, keep_depth=True, init_scale=None)
        if self.resblock_updown:
            return self.res(channels, channels, make())
        if self.upsample == "transposed":
            return TransposedUpsample(self.dims, channels, keep_depth=True)
        return make(in_channels=channels, with_conv=self.conv_resample)

    def middle(self, channels: int) -> Stage:
        """The blocks at the lowest resolution: a residual block, attention, a residual block."""
        return Stage(
            res1=self.res(channels, channels),
            attention=self.attention(channels),
            res2=self.res(channels, channels),
        )


def time_embedding(channels: int) -> TimeEmbedding:
    """From ``time_features`` (B, channels) to the embedding (B, 4 channels)."""
    wide = 4 * channels
    return TimeEmbedding(linear1=linear(channels, wide), act=nn.SiLU(), linear2=linear(wide, wide))


def time_features(labels: Tensor, channels: int) -> Tensor:
    """ADM's sinusoidal embedding: cosines first, frequencies ``10000^(-i / n)`` for i < n."""
    return sinusoidal(labels, channels, cosines_first=True, endpoint=False)


def level_sizes(image_size: int | Sequence[int], dims: int, levels: int) -> list[tuple[int, ...]]:
    """The spatial size at each level, for images of the size that a network is made for.

    Raises:
        ValueError: the number of sizes is wrong, or a size does not halve ``levels - 1`` times.
    """
    size = (image_size,) * dims if isinstance(image_size, int) else tuple(image_size)
    if len(size) != dims:
        raise ValueError(f"image_size {size} has {len(size)} sizes, the network dims={dims}; give one each.")
    check_divides(size, dims, levels)
    halved = factors_of(dims, keep_depth=True)
    return [tuple(n // f**level for n, f in zip(size, halved, strict=True)) for level in range(levels)]


def check_divides(size: Sequence[int], dims: int, levels: int) -> None:
    """Refuse a spatial size that cannot be halved between all levels.

    Raises:
        ValueError: with the size and what is allowed.
    """
    factors = tuple(f ** (levels - 1) for f in factors_of(dims, keep_depth=True))
    if any(n < 1 or n % factor for n, factor in zip(size, factors, strict=True)):
        raise ValueError(
            f"spatial size {tuple(size)} does not divide by {factors}, which the network's {levels} levels "
            f"need; pad or crop the data, or use fewer entries in channel_mult."
        )


def check_sample(shape: Sequence[int], *, channels: int, dims: int, levels: int) -> None:
    """Refuse a sample shape (C, ...) that a network cannot process.

    Raises:
        ValueError: with what the shape is and what is allowed.
    """
    if len(shape) != dims + 1:
        raise ValueError(
            f"sample shape {tuple(shape)} has {len(shape) - 1} spatial axes, the network dims={dims}; "
            f"set dims or reshape the data."
        )
    if shape[0] != channels:
        raise ValueError(
            f"sample shape {tuple(shape)} has {shape[0]} channels, the network in_channels={channels}; "
            f"set in_channels to the data's."
        )
    check_divides(shape[1:], dims, levels)


@dataclass(frozen=True)
class EncoderStages:
    """A network's encoder, and the numbers of channels of its outputs, that of the first convolution included."""

    stages: ModuleList[Stage]
    channels: tuple[int, ...]


def encoder_stages(
    make: BlockFactory,
    *,
    channels: int,
    channel_mult: Sequence[float],
    num_res_blocks: int,
    attention_levels: Sequence[bool],
) -> EncoderStages:
    """The encoder: residual blocks at each level, with attention where it is set, and down-sampling to the next."""
    split = [mult for mult in channel_mult if mult * channels != int(mult * channels)]
    if split:
        raise ValueError(
            f"channels={channels} times {', '.join(f'{mult:g}' for mult in split)}, of channel_mult, is no whole "
            f"number of channels: change the one or the other."
        )
    stages: ModuleList[Stage] = ModuleList()
    ch = int(channel_mult[0] * channels)
    outputs = [ch]
    for level, mult in enumerate(channel_mult):
        for _ in range(num_res_blocks):
            out = int(mult * channels)
            stage = Stage(res=make.res(ch, out))
            ch = out
            if attention_levels[level]:
                stage.add_module("attention", make.attention(ch))
            stages.append(stage)
            outputs.append(ch)
        if level + 1 < len(channel_mult):
            stages.append(Stage(resample=make.down(ch)))
            outputs.append(ch)
    return EncoderStages(stages, tuple(outputs))


def attention_at(
    resolutions: Sequence[int], image_size: int | Sequence[int], dims: int, levels: int
) -> list[bool]:
    """Whether each level has attention.

    Raises:
        ValueError: a resolution that no level has.
    """
    widths = [size[-1] for size in level_sizes(image_size, dims, levels)]
    strange = [resolution for resolution in resolutions if resolution not in widths]
    if strange:
        raise ValueError(
            f"attention_resolutions {strange} are the size of no level; image_size={image_size} with "
            f"{levels} levels has {widths}. They are sizes in pixels, not factors of reduction."
        )
    return [width in resolutions for width in widths]
