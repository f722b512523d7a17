"""Self-attention over the positions of a feature map."""

from __future__ import annotations

import abc
import math
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.block import Block
from models.blocks.convolution import linear
from models.blocks.initialisation import zeroed
from models.blocks.normalization import GroupNorm

_FEW = 128
"""Positions below which the backward pass of a CPU's kernel in half precision is many times slower than in float32."""


def heads_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """``softmax(q k^T / sqrt(d)) v`` of each head (Vaswani et al. 2017, eq. 1): of (B, heads, N, d), each, to as much.

    Of few positions in half precision it is computed in float32 on a CPU where a gradient may be asked for.
    """
    if not _slow_backwards(q):
        return F.scaled_dot_product_attention(q, k, v)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float()).to(q.dtype)


def _slow_backwards(q: Tensor) -> bool:
    half = q.dtype in (torch.bfloat16, torch.float16)
    return half and q.shape[-2] < _FEW and q.device.type == "cpu" and torch.is_grad_enabled()


def multihead_attention(qkv: Tensor, heads: int, *, heads_first: bool) -> Tensor:
    """Softmax attention of N positions, ``softmax(q k^T / sqrt(d)) v`` in each head (Vaswani et al. 2017, eq. 1).

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
    out = heads_attention(q, k, v)
    return out.transpose(1, 2).reshape(batch, length, channels // 3)


def pointwise(layer: nn.Conv1d, h: Tensor) -> Tensor:
    """A kernel-1 convolution of (B, N, C) as a matrix product; the weight keeps its published shape."""
    return F.linear(h, layer.weight.squeeze(-1), layer.bias)


class SelfAttention(Block, abc.ABC):
    """Self-attention between all positions with a shortcut: ``x + attend(norm(x))``.

    With ``skip_rescale`` the sum is divided by sqrt 2. Any number of spatial axes.

    Args:
        norm: of the features, before the attention.
        skip_rescale: see above.
        checkpointed: see ``Block``.
    """

    def __init__(self, norm: GroupNorm, *, skip_rescale: bool = False, checkpointed: bool = False) -> None:
        super().__init__()
        self.norm = norm
        self.gain = math.sqrt(0.5) if skip_rescale else 1.0
        self.checkpointed = checkpointed

    @abc.abstractmethod
    def attend(self, tokens: Tensor) -> Tensor:
        """The branch beside the shortcut, from normalised positions (B, N, C) to (B, N, C)."""

    def evaluate(self, h: Tensor, emb: Tensor | None) -> Tensor:
        # Positions before channels: for channels-last memory neither change of view copies.
        tokens = self.attend(self.norm(h).flatten(2).transpose(1, 2))
        attended = h + tokens.transpose(1, 2).reshape(h.shape)
        return attended if self.gain == 1.0 else attended * self.gain


@final
class SingleHeadAttention(SelfAttention):
    """A matrix each for q, k and v: ``out(softmax(q k^T / sqrt(C)) v)``, by default in one head.

    DDPM's attention (Ho et al. 2020; score_sde's ``AttnBlock``, and with other groups and ``skip_rescale``
    its ``AttnBlockpp``); diffusers divides the channels into several heads, each a row of C / heads channels.

    Args:
        channels: C.
        heads: number of heads; it divides the channels.
        init_scale: of the last matrix; 0 starts the block as its shortcut.
    """

    def __init__(
        self,
        channels: int,
        *,
        norm: GroupNorm,
        heads: int = 1,
        init_scale: float = 0.0,
        skip_rescale: bool = False,
        checkpointed: bool = False,
    ) -> None:
        super().__init__(norm, skip_rescale=skip_rescale, checkpointed=checkpointed)
        self.heads = heads
        # score_sde's inner projections start small.
        self.query = linear(channels, channels, init_scale=0.1)
        self.key = linear(channels, channels, init_scale=0.1)
        self.value = linear(channels, channels, init_scale=0.1)
        self.out = linear(channels, channels, init_scale=init_scale)

    def attend(self, tokens: Tensor) -> Tensor:
        q, k, v = (
            layer(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        attended: Tensor = self.out(heads_attention(q, k, v).transpose(1, 2).flatten(2))
        return attended


@final
class MultiHeadAttention(SelfAttention):
    """Several heads with one matrix for q, k and v together; starts as its shortcut.

    ADM's attention (Dhariwal & Nichol 2021, section 3).

    Args:
        channels: C.
        heads: number of heads; it divides the channels.
        heads_first: order of the channels of q, k and v, see ``multihead_attention``.

    Raises:
        ValueError: the heads do not divide the channels.
    """

    def __init__(
        self, channels: int, *, norm: GroupNorm, heads: int, heads_first: bool, checkpointed: bool = False
    ) -> None:
        super().__init__(norm, checkpointed=checkpointed)
        if heads < 1 or channels % heads:
            raise ValueError(
                f"{channels} channels do not divide into {heads} attention heads; choose num_heads that "
                f"divides them at every level with attention, or set num_head_channels."
            )
        self.heads = heads
        self.heads_first = heads_first
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj = zeroed(nn.Conv1d(channels, channels, 1))

    def attend(self, tokens: Tensor) -> Tensor:
        qkv = pointwise(self.qkv, tokens)
        return pointwise(self.proj, multihead_attention(qkv, self.heads, heads_first=self.heads_first))


@final
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
