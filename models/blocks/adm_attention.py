"""Self-attention over all positions of a feature map, with the two channel orders of published weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.blocks.adm_blocks import Block, group_norm, zeroed


def multihead_attention(qkv: Tensor, heads: int, *, heads_first: bool) -> Tensor:
    """Softmax attention of N positions, ``softmax(q k^T / sqrt(d)) v`` in each head.

    Args:
        qkv: (B, N, 3 C). Published weights order the 3 C channels in two ways, and the wrong one gives
            noise without an error: by head, then q, k, v (``heads_first``, the legacy order), or by
            q, k, v, then head.

    Returns:
        (B, N, C).
    """
    batch, length, channels = qkv.shape
    if heads_first:
        q, k, v = qkv.reshape(batch, length, heads, 3, -1).permute(3, 0, 2, 1, 4)
    else:
        q, k, v = qkv.reshape(batch, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    out = F.scaled_dot_product_attention(q, k, v)
    return out.transpose(1, 2).reshape(batch, length, channels // 3)


def pointwise(layer: nn.Conv1d, h: Tensor) -> Tensor:
    """A kernel-1 convolution of (B, N, C) as a matrix product; the weight keeps its published shape."""
    return F.linear(h, layer.weight.squeeze(-1), layer.bias)


class SelfAttention(Block):
    """Residual multi-head attention between all positions: ``x + proj(attention(qkv(norm(x))))``."""

    def __init__(
        self, *, channels: int, heads: int, heads_first: bool, norm_groups: int, checkpointed: bool
    ) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(
                f"{channels} channels do not divide into {heads} attention heads; choose num_heads that "
                f"divides them at every level with attention, or set num_head_channels."
            )
        self.heads = heads
        self.heads_first = heads_first
        self.checkpointed = checkpointed
        self.norm = group_norm(channels, norm_groups)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj = nn.Conv1d(channels, channels, 1)
        zeroed(self.proj)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        if self.checkpointed and torch.is_grad_enabled():
            return checkpoint(self._evaluate, h, use_reentrant=False)
        return self._evaluate(h)

    def _evaluate(self, x: Tensor) -> Tensor:
        # Positions before channels: for channels-last memory neither change of view copies.
        h = self.norm(x).flatten(2).transpose(1, 2)
        h = multihead_attention(pointwise(self.qkv, h), self.heads, heads_first=self.heads_first)
        return x + pointwise(self.proj, h).transpose(1, 2).reshape(x.shape)


class AttentionPool(nn.Module):
    """Pool a feature map with one attention whose query is the mean (Radford et al. 2021, section 2.4).

    The mean joins the positions, a learned embedding is added to all of them, and the mean's output is
    what remains: (B, C, ...) -> (B, out_channels).

    Args:
        positions: number of positions of the feature map; only maps of this size can be pooled.
    """

    def __init__(self, *, channels: int, out_channels: int, head_channels: int, positions: int) -> None:
        super().__init__()
        if channels % head_channels:
            raise ValueError(
                f"{channels} channels do not divide into heads of {head_channels}; choose num_head_channels "
                f"that divides them."
            )
        self.heads = channels // head_channels
        self.position = nn.Parameter(torch.randn(channels, positions + 1) / channels**0.5)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj = nn.Conv1d(channels, out_channels, 1)

    def forward(self, h: Tensor) -> Tensor:
        h = h.flatten(2)
        h = torch.cat([h.mean(dim=-1, keepdim=True), h], dim=-1) + self.position
        qkv = pointwise(self.qkv, h.transpose(1, 2))
        h = multihead_attention(qkv, self.heads, heads_first=False)
        return pointwise(self.proj, h[:, 0])
