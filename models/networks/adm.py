"""The ADM U-Net (improved-diffusion and guided-diffusion) and its super-resolution form."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.base import Network, register_model
from models.blocks.block import ModuleList, Stage
from models.blocks.conditioning import refuse_unknown
from models.blocks.convolution import conv
from models.blocks.embeddings import (
    Told,
    augmentation_embedding,
    class_column,
    conditioning,
    plus_augmentation,
)
from models.blocks.frequency import FreeU
from models.blocks.initialisation import zeroed
from models.blocks.normalization import group_norm
from models.blocks.ranges import Blocks, Channels, Heads, Multiples, Resolution, Share
from models.networks.adm_stages import (
    BlockFactory,
    attention_at,
    check_sample,
    encoder_stages,
    time_embedding,
    time_features,
)


@dataclass(frozen=True)
class Features:
    """Intermediate features of a U-Net, each (B, C_i, ...): of the encoder, the middle, the decoder."""

    down: tuple[Tensor, ...]
    middle: Tensor
    up: tuple[Tensor, ...]


class UNet(Network):
    """U-Net of residual blocks and self-attention (Dhariwal & Nichol 2021, section 3).

    An encoder of ``len(channel_mult)`` levels, each at half the resolution of the one before, a middle, and a
    decoder that receives every output of the encoder again through skip connections.

    Args:
        image_size: size of the images, one number or one for each spatial axis. It only names the levels for
            ``attention_resolutions``: any size that divides runs, and the axes need not be equal.
        in_channels: channels of the state.
        out_channels: channels of the output, twice ``in_channels`` for learned variances; None for as many as
            come in.
        channels: channels at the first level; the time embedding has four times as many.
        channel_mult: channels of each level, in multiples of ``channels``; fractions are allowed.
        num_res_blocks: residual blocks of each level of the encoder; the decoder's levels have one more.
        attention_resolutions: resolutions of the levels with attention, in pixels along the last axis (the
            flags of the original's scripts; its classes take reduction factors instead).
        dims: number of spatial axes, 1 to 3. In three dimensions the first keeps its size.
        num_heads: heads of each attention.
        num_heads_upsample: heads of each attention in the decoder; None for ``num_heads``.
        num_head_channels: channels of each head, from which the number of heads follows; None where
            ``num_heads`` says it.
        use_new_attention_order: order of the published weights' q, k, v channels, see
            ``multihead_attention``. False is the legacy order, heads first.
        use_scale_shift_norm: whether the embedding scales and shifts the normalised features (FiLM);
            otherwise it is added to them.
        resblock_updown: change the resolution within residual blocks, without resampling layers.
        conv_resample: convolve where the resolution changes; otherwise average and repeat.
        upsample: ``nearest`` (repeat, then convolve) or ``transposed`` (a transposed convolution).
        num_classes: number of class labels that an embedding is learned for, keyword ``y`` of ``forward``;
            None for an unconditional network.
        told: what ``y`` is: a ``class`` label, a ``number`` that is embedded as the time is, or a ``vector`` of four
            times ``channels`` that is added to its embedding; the latter two go without num_classes.
        spare_label: whether the label ``num_classes`` stands for no class, with a vector of zeros.
        dropout: probability, within the residual blocks.
        norm_groups: groups of every normalisation; all numbers of channels must be multiples.
        use_checkpoint: gradient checkpointing, which stores only the blocks' inputs for the backward pass and
            computes the rest again.
        freeu_backbone: FreeU's factors of the decoder's features, for each level from the lowest resolution
            up; applied in evaluation mode only. See ``models.blocks.frequency``.
        freeu_skip: FreeU's factors of the skip connections, likewise.
        augment_labels: how many numbers say what augmentation did to a sample, keyword ``augment`` of ``forward``, (B,
            augment_labels); without them nothing was done. 0: the network is told nothing of it.

    Raises:
        ValueError: settings that do not fit together.
    """

    _images: ClassVar[int]  # how many images of in_channels the first convolution sees
    keeps_nothing = True

    def __init__(
        self,
        *,
        image_size: int | Sequence[int],
        in_channels: int = 3,
        out_channels: int | None = None,
        channels: Channels = 128,
        channel_mult: Sequence[Multiples] = (1, 2, 2, 2),
        num_res_blocks: Blocks = 2,
        attention_resolutions: Sequence[Resolution] = (16, 8),
        dims: int = 2,
        num_heads: Heads = 1,
        num_heads_upsample: Heads | None = None,
        num_head_channels: Channels | None = None,
        use_new_attention_order: bool = False,
        use_scale_shift_norm: bool = True,
        resblock_updown: bool = False,
        conv_resample: bool = True,
        upsample: Literal["nearest", "transposed"] = "nearest",
        num_classes: int | None = None,
        told: Told = "class",
        spare_label: bool = False,
        dropout: Share = 0.0,
        norm_groups: Channels = 32,
        use_checkpoint: bool = False,
        freeu_backbone: Sequence[float] = (),
        freeu_skip: Sequence[float] = (),
        augment_labels: int = 0,
    ) -> None:
        super().__init__()
        make = BlockFactory(
            dims=dims,
            emb_channels=4 * channels,
            dropout=dropout,
            film=use_scale_shift_norm,
            norm_groups=norm_groups,
            num_heads=num_heads,
            num_head_channels=num_head_channels,
            heads_first=not use_new_attention_order,
            conv_resample=conv_resample,
            upsample=upsample,
            resblock_updown=resblock_updown,
            checkpointed=use_checkpoint,
        )
        levels = len(channel_mult)
        attention = attention_at(attention_resolutions, image_size, dims, levels)
        self.dims, self.levels = dims, levels
        self.in_channels, self.channels = in_channels, channels
        self.num_classes, self.with_spare = num_classes, spare_label
        self.freeu = FreeU(backbone=freeu_backbone, skip=freeu_skip, levels=levels)

        self.time_embed = time_embedding(channels)
        self.augment_embed = augmentation_embedding(augment_labels, channels)
        self.class_embedding = (
            None
            if told == "class"
            else conditioning(told, None, channels, 4 * channels, cosines_first=True, endpoint=False)
        )
        if num_classes is not None and self.class_embedding is None:
            self.label_embed = nn.Embedding(num_classes, 4 * channels)
        self.conv_in = conv(dims, self._images * in_channels, int(channel_mult[0] * channels))
        encoder = encoder_stages(
            make,
            channels=channels,
            channel_mult=channel_mult,
            num_res_blocks=num_res_blocks,
            attention_levels=attention,
        )
        self.encoder = encoder.stages
        skips = list(encoder.channels)
        ch = skips[-1]
        self.middle = make.middle(ch)
        self.decoder: ModuleList[Stage] = ModuleList()
        self._decoder_levels: list[int] = []
        for level in reversed(range(levels)):
            for i in range(num_res_blocks + 1):
                out = int(channel_mult[level] * channels)
                stage = Stage(res=make.res(ch + skips.pop(), out))
                ch = out
                if attention[level]:
                    stage.add_module("attention", make.attention(ch, num_heads_upsample))
                if level and i == num_res_blocks:
                    stage.add_module("resample", make.up(ch))
                self.decoder.append(stage)
                self._decoder_levels.append(levels - 1 - level)
        self.norm_out = group_norm(ch, norm_groups)
        self.conv_out = zeroed(conv(dims, ch, in_channels if out_channels is None else out_channels))

    @abc.abstractmethod
    def first_input(self, x: Tensor, **cond: Any) -> Tensor:
        """The input of the first convolution, from the state and the conditioning (without ``y``)."""

    def forward(
        self,
        x: Tensor,
        labels: Tensor,
        *,
        y: Tensor | None = None,
        augment: Tensor | None = None,
        **cond: Any,
    ) -> Tensor:
        emb = self._embed(labels, y, augment)
        skips = self._encode(self.first_input(x, **cond), emb)
        h = self.middle(skips[-1], emb)
        for level, stage in zip(self._decoder_levels, self.decoder, strict=True):
            h = stage(self._join(h, skips.pop(), level), emb)
        output: Tensor = self.conv_out(F.silu(self.norm_out(h)))
        return output

    def features(
        self,
        x: Tensor,
        labels: Tensor,
        *,
        y: Tensor | None = None,
        augment: Tensor | None = None,
        **cond: Any,
    ) -> Features:
        """The output of every stage, in the order of evaluation; arguments of ``forward``."""
        emb = self._embed(labels, y, augment)
        skips = self._encode(self.first_input(x, **cond), emb)
        down, h = tuple(skips), self.middle(skips[-1], emb)
        middle, up = h, []
        for level, stage in zip(self._decoder_levels, self.decoder, strict=True):
            h = stage(self._join(h, skips.pop(), level), emb)
            up.append(h)
        return Features(down=down, middle=middle, up=tuple(up))

    def check_shape(self, shape: Sequence[int]) -> None:
        check_sample(shape, channels=self.in_channels, dims=self.dims, levels=self.levels)

    def _embed(self, labels: Tensor, y: Tensor | None, augment: Tensor | None) -> Tensor:
        # The activation that every block begins with is the same for all; it is applied once.
        features = time_features(labels, self.channels)
        emb = self.time_embed(plus_augmentation(features, self.augment_embed, augment))
        if self.class_embedding is not None:
            return F.silu(emb + self.class_embedding(y))
        if self.num_classes is None:
            if y is not None:
                raise ValueError(
                    "class labels y given to a network without classes; set num_classes or drop y."
                )
            return F.silu(emb)
        if y is None or y.shape != labels.shape:
            raise ValueError(
                f"a network of {self.num_classes} classes needs one class label per sample, y of shape "
                f"{tuple(labels.shape)}; got {'none' if y is None else tuple(y.shape)}."
            )
        if self.with_spare:
            return F.silu(emb + class_column(self.label_embed.weight.T, y))
        return F.silu(emb + self.label_embed(y))

    def _encode(self, x: Tensor, emb: Tensor) -> list[Tensor]:
        outputs = [self.conv_in(x)]
        for stage in self.encoder:
            outputs.append(stage(outputs[-1], emb))
        return outputs

    def _join(self, h: Tensor, skip: Tensor, level: int) -> Tensor:
        if not self.training:
            h, skip = self.freeu.features(h, level), self.freeu.connection(skip, level)
        return torch.cat([h, skip], dim=1)


@final
@register_model
class ADM(UNet):
    """The U-Net of improved-diffusion and guided-diffusion; arguments of ``UNet``."""

    _images = 1

    def first_input(self, x: Tensor, **cond: Any) -> Tensor:
        refuse_unknown(cond, "y")
        return x


@final
@register_model(name="adm_superres")
class ADMSuperRes(UNet):
    """The U-Net for super-resolution, conditional on a low-resolution image (Dhariwal & Nichol 2021, section 5).

    Conditioning ``low_res``, (B, in_channels, ...) of any size, is interpolated linearly along each axis
    to the size of the state and joined to its channels; other arguments of ``UNet``.
    """

    _images = 2
    sees_low_res = True

    def first_input(self, x: Tensor, *, low_res: Tensor | None = None, **cond: Any) -> Tensor:
        refuse_unknown(cond, "y and low_res")
        if low_res is None or low_res.shape[:2] != x.shape[:2]:
            raise ValueError(
                f"the super-resolution network needs low_res with the batch and channels of the state, "
                f"{tuple(x.shape[:2])}; got {'none' if low_res is None else tuple(low_res.shape)}."
            )
        mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[self.dims]
        enlarged = F.interpolate(low_res, x.shape[2:], mode=mode, align_corners=False)
        return torch.cat([x, enlarged], dim=1)
