"""How the ADM networks are put together from their blocks: levels, stages, and what all blocks share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from models.blocks.adm_attention import SelfAttention
from models.blocks.adm_blocks import (
    Block,
    ConvDownsample,
    Double,
    Halve,
    MeanDownsample,
    NearestUpsample,
    Resample,
    ResBlock,
    Stage,
    TransposedUpsample,
    per_axis,
)


@dataclass(frozen=True)
class BlockFactory:
    """What all blocks of one network have in common; makes them."""

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
            raise ValueError(f"dims={self.dims!r} is not supported; allowed: 1, 2, 3 (spatial dimensions).")
        if self.upsample not in ("nearest", "transposed"):
            raise ValueError(f"unknown upsample {self.upsample!r}; allowed: 'nearest', 'transposed'.")
        if self.upsample == "transposed" and (self.resblock_updown or not self.conv_resample):
            raise ValueError(
                "upsample='transposed' is a learned resampling of its own: it needs conv_resample=True and "
                "resblock_updown=False; change these or use upsample='nearest'."
            )

    def res(self, in_channels: int, out_channels: int, resample: Resample | None = None) -> ResBlock:
        """A residual block."""
        return ResBlock(
            in_channels=in_channels,
            out_channels=out_channels,
            emb_channels=self.emb_channels,
            dims=self.dims,
            dropout=self.dropout,
            film=self.film,
            norm_groups=self.norm_groups,
            checkpointed=self.checkpointed,
            resample=resample,
        )

    def attention(self, channels: int, num_heads: int | None = None) -> SelfAttention:
        """Attention; the width of a head, where it is set, takes precedence over the number of heads."""
        heads = num_heads or self.num_heads
        if self.num_head_channels is not None:
            if channels % self.num_head_channels:
                raise ValueError(
                    f"{channels} channels do not divide into heads of num_head_channels="
                    f"{self.num_head_channels}; choose one that divides them at every level with attention."
                )
            heads = channels // self.num_head_channels
        return SelfAttention(
            channels=channels,
            heads=heads,
            heads_first=self.heads_first,
            norm_groups=self.norm_groups,
            checkpointed=self.checkpointed,
        )

    def down(self, channels: int) -> Block:
        """From one level to the next smaller one."""
        if self.resblock_updown:
            return self.res(channels, channels, Halve(self.dims))
        if self.conv_resample:
            return ConvDownsample(channels=channels, dims=self.dims)
        return MeanDownsample(dims=self.dims)

    def up(self, channels: int) -> Block:
        """From one level to the next larger one."""
        if self.resblock_updown:
            return self.res(channels, channels, Double(self.dims))
        if self.upsample == "transposed":
            return TransposedUpsample(channels=channels, dims=self.dims)
        return NearestUpsample(channels=channels, dims=self.dims, convolved=self.conv_resample)

    def middle(self, channels: int) -> Stage:
        """The blocks at the smallest size."""
        return Stage(
            res1=self.res(channels, channels),
            attention=self.attention(channels),
            res2=self.res(channels, channels),
        )


def level_sizes(image_size: int | Sequence[int], dims: int, levels: int) -> list[tuple[int, ...]]:
    """Spatial size at each level of an image of the size a network is made for.

    Raises:
        ValueError: the number of sizes is wrong, or a size does not halve ``levels - 1`` times.
    """
    size = (image_size,) * dims if isinstance(image_size, int) else tuple(image_size)
    if len(size) != dims:
        raise ValueError(f"image_size {size} has {len(size)} sizes, the network dims={dims}; give one each.")
    check_divides(size, dims, levels)
    factors = [per_axis(dims, 1, 2**level) for level in range(levels)]
    return [tuple(n // f for n, f in zip(size, factor, strict=True)) for factor in factors]


def check_divides(size: Sequence[int], dims: int, levels: int) -> None:
    """Refuse a spatial size that cannot be halved between all levels.

    Raises:
        ValueError: with the size and what is allowed.
    """
    factors = per_axis(dims, 1, 2 ** (levels - 1))
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
    """The shrinking half of a network, and the channels of its outputs, the first convolution's first."""

    stages: nn.ModuleList
    channels: tuple[int, ...]


def encoder_stages(
    make: BlockFactory,
    *,
    channels: int,
    channel_mult: Sequence[float],
    num_res_blocks: int,
    attention_levels: Sequence[bool],
) -> EncoderStages:
    """Residual blocks (with attention where asked) at each level, and the way down to the next."""
    stages = nn.ModuleList()
    ch = int(channel_mult[0] * channels)
    outputs = [ch]
    for level, mult in enumerate(channel_mult):
        for _ in range(num_res_blocks):
            stage = {"res": make.res(ch, out := int(mult * channels))}
            ch = out
            stages.append(
                Stage(**stage, attention=make.attention(ch)) if attention_levels[level] else Stage(**stage)
            )
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


def refuse_unknown(cond: dict[str, Any], allowed: str) -> None:
    """Refuse conditioning that would be ignored.

    Raises:
        ValueError: naming it and what the network takes.
    """
    if cond:
        raise ValueError(f"unknown conditioning {', '.join(sorted(cond))}; this network takes {allowed}.")
