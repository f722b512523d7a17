"""The block of EDM2's U-Net."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor, nn

from models.blocks.attention import heads_attention
from models.blocks.block import Block
from models.blocks.dropout import Dropout
from models.blocks.magnitude import MPLayer, mp_silu, mp_sum, unit_magnitude

_CLIP = 256.0
"""Features are cut to it, which float16 needs."""


@final
class MPAttention(nn.Module):
    """Self-attention of q, k and v of unit magnitude in each head (Karras et al. 2024, fig. 21), one layer for all.

    The layer's channels are ordered by head, then channel, then q, k, v.

    Args:
        channels: C.
        rank: number of spatial axes.
        heads: number of heads; it divides the channels.
    """

    def __init__(self, channels: int, *, rank: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = MPLayer(channels, 3 * channels, rank=rank)
        self.proj = MPLayer(channels, channels, rank=rank)

    def forward(self, h: Tensor) -> Tensor:
        qkv = self.qkv(h).reshape(len(h), self.heads, -1, 3, h[0, 0].numel())
        q, k, v = unit_magnitude(qkv, 2).transpose(2, 4).unbind(3)
        attended: Tensor = self.proj(heads_attention(q, k, v).transpose(2, 3).reshape(h.shape))
        return attended


@final
class MPBlock(Block):
    """A residual block of magnitude-preserving layers, with attention behind it where asked for (fig. 21 there).

    With x the resampled input, normalised in each position on the way down (after a 1x1 convolution where the
    width changes), the branch is conv(act(conv(act(x)) c)), c = 1 + gain W emb. Branch and attention are
    each added with a share of their own, and the features are cut to [-256, 256].

    Args:
        in_channels, out_channels: of the block.
        emb_channels: of the embedding.
        rank: number of spatial axes.
        way: ``down`` or ``up``, where the width changes: before the branch, or on its way round.
        resample: halves or doubles the input; None: it is left.
        head_channels: channels of each head of the attention; None: no attention.
        dropout: probability, before the last convolution.
        balance: share t of branch and attention in their sums, see ``mp_sum``.
        checkpointed: see ``Block``.

    Raises:
        ValueError: the heads do not divide the channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        emb_channels: int,
        *,
        rank: int,
        way: Literal["down", "up"],
        resample: Block | None = None,
        head_channels: int | None = None,
        dropout: float = 0.0,
        balance: float = 0.3,
        checkpointed: bool = False,
    ) -> None:
        super().__init__()
        self.down, self.resample, self.balance, self.checkpointed = (
            way == "down",
            resample,
            balance,
            checkpointed,
        )
        inner = out_channels if self.down else in_channels
        self.shortcut = None if in_channels == out_channels else MPLayer(in_channels, out_channels, rank=rank)
        self.conv_in = MPLayer(inner, out_channels, rank=rank, kernel=3)
        self.embedding = MPLayer(emb_channels, out_channels)
        self.gain = nn.Parameter(torch.zeros(()))
        self.conv_out = MPLayer(out_channels, out_channels, rank=rank, kernel=3)
        self.dropout = Dropout(dropout)
        self.attention = None
        if head_channels is not None:
            if out_channels % head_channels:
                raise ValueError(
                    f"{out_channels} channels do not divide into attention heads of {head_channels}; choose "
                    "head_channels that divides them at every level with attention and at the last."
                )
            self.attention = MPAttention(out_channels, rank=rank, heads=out_channels // head_channels)

    def evaluate(self, h: Tensor, emb: Tensor | None) -> Tensor:
        if self.resample is not None:
            h = self.resample(h)
        if self.down:
            h = unit_magnitude(h if self.shortcut is None else self.shortcut(h), 1)
        scale = self.embedding(emb, self.gain) + 1
        branch = self.conv_in(mp_silu(h))
        branch = mp_silu(branch * scale.reshape(*scale.shape, *[1] * (h.ndim - 2)))
        branch = self.conv_out(self.dropout(branch))
        if not self.down and self.shortcut is not None:
            h = self.shortcut(h)
        h = mp_sum(h, branch, self.balance)
        if self.attention is not None:
            h = mp_sum(h, self.attention(h), self.balance)
        return h.clamp(-_CLIP, _CLIP)
