"""EDM2's U-Net, in which every layer preserves magnitudes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated, Any, final

import torch
from torch import Tensor, nn

from models.base import Network, register_model
from models.blocks.block import ModuleList
from models.blocks.conditioning import refuse_unknown
from models.blocks.embeddings import class_column
from models.blocks.magnitude import MPFourier, MPLayer, mp_cat, mp_silu, mp_sum
from models.blocks.ranges import Blocks, Channels, Multiple, Resolution, Share
from models.blocks.resample import Downsample, Upsample
from models.blocks.sizes import check_divisible, resolutions, spatial_rank
from models.networks.edm2_block import MPBlock
from sde_lib.ranges import Range
from sde_lib.timetable import tabulated

_UNCERTAINTY = 128
"""Fourier features from which the network's own error is estimated."""


@final
@register_model(name="edm2")
class EDM2(Network):
    """The U-Net of EDM2, configuration G (Karras et al. 2024, figure 21 and table 6).

    Layers without biases whose weights are normalised when they are used and, by ``constrain``, before each
    training step; sums and concatenations of fixed shares. ``EDMPreconditioned`` wraps it: labels are c_noise. The
    label ``num_classes`` stands for no class. A further layer has the logarithm of the variance of its error
    (``log_variance``, eq. 21 there); it is trained where an objective asks for it.

    Args:
        in_channels: channels of the state.
        out_channels: channels of the output; None for as many as come in.
        image_size: one number for a square image, or one for each of 1, 2 or 3 spatial axes. It only says where
            attention goes: other sizes run too, see ``check_shape``.
        channels: channels at the first level: 128 for XS, 192 S, 256 M, 320 L, 384 XL, 448 XXL.
        channel_mult: channels of each level, in multiples of ``channels``.
        num_res_blocks: blocks of each level on the way down; there is one more on the way up.
        attention_resolutions: resolutions of the levels with attention, in pixels along the longer side.
        head_channels: channels of each attention head.
        dropout: probability, before the last convolution of each block.
        label_balance: share t of the class in its sum with the time, see ``mp_sum``.
        concat_balance: share t of the skip connections, see ``mp_cat``.
        use_checkpoint: gradient checkpointing, which stores only the blocks' inputs for the backward pass and
            computes the rest again.
        num_classes: number of class labels, keyword ``y`` of ``forward``; None for an unconditional network.

    Raises:
        ValueError: a size that is none, or heads that do not divide the channels.
    """

    spare_label = True
    has_log_variance = True
    keeps_nothing = True
    unit_weights = True

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int | None = None,
        image_size: int | Sequence[int] = 64,
        channels: Channels = 192,
        channel_mult: Sequence[Multiple] = (1, 2, 3, 4),
        num_res_blocks: Blocks = 3,
        attention_resolutions: Sequence[Resolution] = (16, 8),
        head_channels: Channels = 64,
        dropout: Share = 0.0,
        label_balance: Annotated[float, Range(least=0, most=1)] = 0.5,
        concat_balance: Annotated[float, Range(least=0, most=1)] = 0.5,
        use_checkpoint: bool = False,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.rank = rank = spatial_rank(image_size)
        self.factor = 2 ** (len(channel_mult) - 1)
        self.label_balance, self.concat_balance = label_balance, concat_balance
        self.num_classes = num_classes
        widths = [channels * mult for mult in channel_mult]
        attend = [size in tuple(attention_resolutions) for size in resolutions(image_size, len(widths))]
        emb_channels = max(widths)
        block = partial(MPBlock, rank=rank, dropout=dropout, checkpointed=use_checkpoint)

        self.fourier = MPFourier(widths[0])
        self.time_embedding = MPLayer(widths[0], emb_channels)
        self.class_embedding = None if num_classes is None else MPLayer(num_classes, emb_channels)
        self.conv_in = MPLayer(in_channels + 1, widths[0], rank=rank, kernel=3)
        down, skips, width = [], [widths[0]], widths[0]
        for level, out_width in enumerate(widths):
            if level:
                halved = Downsample(rank)
                down.append(block(width, width, emb_channels, way="down", resample=halved))
                skips.append(width)
            for _ in range(num_res_blocks):
                heads = head_channels if attend[level] else None
                down.append(block(width, out_width, emb_channels, way="down", head_channels=heads))
                width = out_width
                skips.append(width)
        self.down: ModuleList[MPBlock] = ModuleList(down)
        up = [
            block(width, width, emb_channels, way="up", head_channels=head_channels),
            block(width, width, emb_channels, way="up"),
        ]
        joined = [False, False]
        for level, out_width in reversed(list(enumerate(widths))):
            if level < len(widths) - 1:
                up.append(block(width, width, emb_channels, way="up", resample=Upsample(rank)))
                joined.append(False)
            for _ in range(num_res_blocks + 1):
                heads = head_channels if attend[level] else None
                up.append(block(width + skips.pop(), out_width, emb_channels, way="up", head_channels=heads))
                width = out_width
                joined.append(True)
        self.up: ModuleList[MPBlock] = ModuleList(up)
        self._joined = tuple(joined)
        assert not skips
        self.conv_out = MPLayer(
            width, in_channels if out_channels is None else out_channels, rank=rank, kernel=3
        )
        self.gain = nn.Parameter(torch.zeros(()))
        self.error_fourier = MPFourier(_UNCERTAINTY)
        self.error = MPLayer(_UNCERTAINTY, 1).requires_grad_(False)  # ``train_log_variance`` releases it

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse a sample shape (C, ...) whose channels, axes or sizes do not fit (see ``Network``)."""
        check_divisible(shape, channels=self.in_channels, rank=self.rank, factor=self.factor)

    def constrain(self) -> None:
        """Bring every layer's weights to unit magnitude, see ``MPLayer``."""
        for layer in self.modules():
            if isinstance(layer, MPLayer):
                layer.constrain()

    def log_variance(self, labels: Tensor) -> Tensor:
        """The logarithm of the variance of the network's error at labels, (B,), as far as it has learned it."""
        found: Tensor = self.error(self.error_fourier(labels))
        return found[:, 0]

    def apart(self) -> Iterable[nn.Parameter]:
        return (*self.error_fourier.parameters(), *self.error.parameters())

    def train_log_variance(self) -> None:
        self.error.requires_grad_(True)

    def forward(self, x: Tensor, labels: Tensor, *, y: Tensor | None = None, **cond: Any) -> Tensor:
        refuse_unknown(cond, "y")
        emb = self._embed(labels, y)
        # A channel of ones is what stands for biases.
        h = self.conv_in(torch.cat([x, torch.ones_like(x[:, :1])], dim=1))
        skips = [h]
        for block in self.down:
            h = block(h, emb)
            skips.append(h)
        for joined, block in zip(self._joined, self.up, strict=True):
            h = block(mp_cat(h, skips.pop(), self.concat_balance) if joined else h, emb)
        output: Tensor = self.conv_out(h, self.gain)
        return output

    def _embed(self, labels: Tensor, y: Tensor | None) -> Tensor:
        emb: Tensor = self.time_embedding(tabulated(self.fourier, labels))
        if (self.class_embedding is None) != (y is None):
            known = f"{self.num_classes} classes" if self.num_classes else "no classes (num_classes is None)"
            raise ValueError(
                f"this network knows {known}, and got {'no labels' if y is None else 'labels'} y."
            )
        if self.class_embedding is not None and y is not None:
            # A unit vector times sqrt(K) has unit magnitude.
            told = class_column(self.class_embedding.scaled_weight(), y)
            emb = mp_sum(emb, told * math.sqrt(self.class_embedding.weight.shape[1]), self.label_balance)
        return mp_silu(emb)
