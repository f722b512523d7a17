"""ADM's encoder with a pool: the classifier of noisy images that guides sampling."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.base import Network, register_model
from models.blocks.attention import AttentionPool
from models.blocks.conditioning import refuse_unknown
from models.blocks.convolution import conv
from models.blocks.initialisation import zeroed
from models.blocks.normalization import group_norm
from models.blocks.ranges import Blocks, Channels, Heads, Multiples, Resolution, Share
from models.networks.adm_stages import (
    BlockFactory,
    attention_at,
    check_sample,
    encoder_stages,
    level_sizes,
    time_embedding,
    time_features,
)

_HEAD_CHANNELS = 64
_HIDDEN = 2048  # width of the spatial pools' hidden layer, as published
_HIDDEN_GROUPS = 32
_POOLS = ("adaptive", "attention", "spatial", "spatial_v2")


class Readout(nn.Module, abc.ABC):
    """A head: from the outputs of all stages, the middle's last, to one vector (B, K) for each sample."""

    @abc.abstractmethod
    def forward(self, outputs: Sequence[Tensor]) -> Tensor: ...


def spatial_mean(h: Tensor) -> Tensor:
    """The mean over all positions: (B, C, ...) -> (B, C)."""
    return h.flatten(2).mean(dim=-1)


@final
class AdaptiveReadout(Readout):
    """Global average pooling of the last output, then a linear map that starts at zero."""

    def __init__(self, *, channels: int, out_channels: int, dims: int, norm_groups: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, norm_groups)
        self.conv = zeroed(conv(dims, channels, out_channels, kernel=1))

    def forward(self, outputs: Sequence[Tensor]) -> Tensor:
        mean = spatial_mean(F.silu(self.norm(outputs[-1])))
        logits: Tensor = self.conv(mean.reshape(*mean.shape, *(1,) * (outputs[-1].ndim - 2)))
        return logits.flatten(1)


@final
class AttentionReadout(Readout):
    """Attention pooling of the last output."""

    def __init__(
        self, *, channels: int, out_channels: int, head_channels: int, positions: int, norm_groups: int
    ) -> None:
        super().__init__()
        self.norm = group_norm(channels, norm_groups)
        self.pool = AttentionPool(
            channels=channels, out_channels=out_channels, head_channels=head_channels, positions=positions
        )

    def forward(self, outputs: Sequence[Tensor]) -> Tensor:
        logits: Tensor = self.pool(F.silu(self.norm(outputs[-1])))
        return logits


@final
class SpatialReadout(Readout):
    """Two dense layers over the spatial means of every stage's output.

    The second version normalises the hidden layer and activates it with SiLU instead of ReLU.
    """

    def __init__(self, *, channels: int, out_channels: int, normalised: bool) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels, _HIDDEN)
        self.hidden_norm = group_norm(_HIDDEN, _HIDDEN_GROUPS) if normalised else nn.Identity()
        self.act = nn.SiLU() if normalised else nn.ReLU()
        self.classes = nn.Linear(_HIDDEN, out_channels)

    def forward(self, outputs: Sequence[Tensor]) -> Tensor:
        means = torch.cat([spatial_mean(h) for h in outputs], dim=1)
        logits: Tensor = self.classes(self.act(self.hidden_norm(self.hidden(means))))
        return logits


@final
@register_model(name="adm_encoder")
class ADMEncoder(Network):
    """The encoder of ADM's U-Net with a pooling head: a classifier of noisy images (Dhariwal & Nichol 2021,
    section 4 and appendix H).

    Its output is one vector for each sample, (B, out_channels): the logits of the classes.

    Args:
        image_size: size of the images, one number or one for each spatial axis; the pool ``attention`` takes
            this size only.
        in_channels: channels of the state.
        out_channels: number of classes.
        channels: channels at the first level; the time embedding has four times as many.
        channel_mult: channels of each level, in multiples of ``channels``; fractions are allowed.
        num_res_blocks: residual blocks of each level.
        attention_resolutions: resolutions of the levels with attention, in pixels along the last axis.
        pool: ``adaptive`` (the mean of the last features), ``attention`` (the published classifiers'),
            ``spatial`` or ``spatial_v2`` (dense layers over the means of all features).
        dims: number of spatial axes, 1 to 3. In three dimensions the first keeps its size.
        num_heads: heads of each attention; unset where ``num_head_channels`` says it.
        num_head_channels: channels of each head, from which the number of heads follows, whatever ``num_heads``;
            64 where neither is set.
        use_new_attention_order: order of the published weights' q, k, v channels, see
            ``multihead_attention``. False is the legacy order, heads first.
        use_scale_shift_norm: whether the embedding scales and shifts the normalised features (FiLM);
            otherwise it is added to them.
        resblock_updown: change the resolution within residual blocks, without resampling layers.
        conv_resample: convolve where the resolution changes; otherwise average.
        dropout: probability, within the residual blocks.
        norm_groups: groups of every normalisation; all numbers of channels must be multiples.
        use_checkpoint: gradient checkpointing, which stores only the blocks' inputs for the backward pass and
            computes the rest again.

    Raises:
        ValueError: settings that do not fit together.
    """

    classifies = True
    keeps_nothing = True

    def __init__(
        self,
        *,
        image_size: int | Sequence[int],
        in_channels: int = 3,
        out_channels: int = 1000,
        channels: Channels = 128,
        channel_mult: Sequence[Multiples] = (1, 2, 3, 4),
        num_res_blocks: Blocks = 2,
        attention_resolutions: Sequence[Resolution] = (32, 16, 8),
        pool: Literal["adaptive", "attention", "spatial", "spatial_v2"] = "attention",
        dims: int = 2,
        num_heads: Heads | None = None,
        num_head_channels: Channels | None = None,
        use_new_attention_order: bool = False,
        use_scale_shift_norm: bool = True,
        resblock_updown: bool = True,
        conv_resample: bool = True,
        dropout: Share = 0.0,
        norm_groups: Channels = 32,
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        if num_heads is None and num_head_channels is None:
            num_head_channels = _HEAD_CHANNELS
        make = BlockFactory(
            dims=dims,
            emb_channels=4 * channels,
            dropout=dropout,
            film=use_scale_shift_norm,
            norm_groups=norm_groups,
            num_heads=num_heads or 1,
            num_head_channels=num_head_channels,
            heads_first=not use_new_attention_order,
            conv_resample=conv_resample,
            upsample="nearest",
            resblock_updown=resblock_updown,
            checkpointed=use_checkpoint,
        )
        levels = len(channel_mult)
        sizes = level_sizes(image_size, dims, levels)
        self.dims, self.levels = dims, levels
        self.in_channels, self.channels = in_channels, channels
        self.only_size = sizes[0] if pool == "attention" else None

        self.time_embed = time_embedding(channels)
        self.conv_in = conv(dims, in_channels, int(channel_mult[0] * channels))
        encoder = encoder_stages(
            make,
            channels=channels,
            channel_mult=channel_mult,
            num_res_blocks=num_res_blocks,
            attention_levels=attention_at(attention_resolutions, image_size, dims, levels),
        )
        self.encoder = encoder.stages
        last = encoder.channels[-1]
        self.middle = make.middle(last)
        self.readout: Readout
        match pool:
            case "adaptive":
                self.readout = AdaptiveReadout(
                    channels=last, out_channels=out_channels, dims=dims, norm_groups=norm_groups
                )
            case "attention":
                if num_head_channels is None:
                    raise ValueError("pool 'attention' needs num_head_channels; set it or change the pool.")
                self.readout = AttentionReadout(
                    channels=last,
                    out_channels=out_channels,
                    head_channels=num_head_channels,
                    positions=math.prod(sizes[-1]),
                    norm_groups=norm_groups,
                )
            case "spatial" | "spatial_v2":
                self.readout = SpatialReadout(
                    channels=sum(encoder.channels) + last,
                    out_channels=out_channels,
                    normalised=pool == "spatial_v2",
                )
            case _:
                raise ValueError(f"unknown pool {pool!r}; allowed: {', '.join(_POOLS)}.")

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        refuse_unknown(cond, "none")
        emb = F.silu(self.time_embed(time_features(labels, self.channels)))
        outputs = [self.conv_in(x)]
        for stage in self.encoder:
            outputs.append(stage(outputs[-1], emb))
        outputs.append(self.middle(outputs[-1], emb))
        logits: Tensor = self.readout(outputs)
        return logits

    def check_shape(self, shape: Sequence[int]) -> None:
        check_sample(shape, channels=self.in_channels, dims=self.dims, levels=self.levels)
        if self.only_size is not None and tuple(shape[1:]) != self.only_size:
            raise ValueError(
                f"pool 'attention' has an embedding for images of {self.only_size} only, not "
                f"{tuple(shape[1:])}; set image_size to the data's or choose another pool."
            )
