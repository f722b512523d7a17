"""The layers of a diffusion transformer, told time and class by adaptive layer normalisation."""

from __future__ import annotations

from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.attention import multihead_attention
from models.blocks.block import Block
from models.blocks.convolution import linear
from models.blocks.initialisation import zeroed


def modulated(h: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """(1 + scale) n + shift of tokens (B, N, D), n their normalisation without weights; shift, scale (B, D)."""
    normal = F.layer_norm(h, h.shape[-1:], eps=eps)
    return normal * (1 + scale[:, None]) + shift[:, None]


@final
class TransformerBlock(Block):
    """adaLN-zero: ``h + g attention(m(h))``, then ``h + g' perceptron(m'(h))`` (Peebles & Xie 2023, section 3.2).

    Shifts and scales of the modulated normalisations m and gates g are a linear map of the embedding, which begins at
    zero: the block begins as the identity. The embedding is activated already.

    Args:
        channels: D, of a token.
        heads: number of heads; it divides the channels.
        expansion: hidden width of the perceptron, in multiples of the channels.
        norm_eps: of the normalisation before the attention.
        mlp_norm_eps: of that before the perceptron.
        checkpointed: see ``Block``.

    Raises:
        ValueError: the heads do not divide the channels.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int,
        expansion: int,
        norm_eps: float,
        mlp_norm_eps: float,
        checkpointed: bool = False,
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(
                f"{channels} channels do not divide into {heads} attention heads; choose num_heads that divides them."
            )
        self.heads, self.norm_eps, self.mlp_norm_eps = heads, norm_eps, mlp_norm_eps
        self.checkpointed = checkpointed
        # One matrix each of published weights, so each starts as one (Glorot & Bengio 2010), biases at zero.
        self.qkv = linear(channels, 3 * channels, init_scale=1.0)
        self.proj = linear(channels, channels, init_scale=1.0)
        self.dense_in = linear(channels, expansion * channels, init_scale=1.0)
        self.dense_out = linear(expansion * channels, channels, init_scale=1.0)
        self.modulation = zeroed(nn.Linear(channels, 6 * channels))

    def evaluate(self, h: Tensor, emb: Tensor | None) -> Tensor:
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(emb).chunk(6, dim=1)
        qkv = self.qkv(modulated(h, shift, scale, self.norm_eps))
        h = h + gate[:, None] * self.proj(multihead_attention(qkv, self.heads, heads_first=False))
        inner = self.dense_in(modulated(h, mlp_shift, mlp_scale, self.mlp_norm_eps))
        out: Tensor = h + mlp_gate[:, None] * self.dense_out(F.gelu(inner, approximate="tanh"))
        return out


@final
class Unpatch(nn.Module):
    """From tokens to patches: a modulated normalisation and a dense layer (Peebles & Xie 2023, section 3.2).

    Both begin at zero, and so does the network's output.

    Args:
        channels: D, of a token.
        values: of a patch.
        norm_eps: of the normalisation.
    """

    def __init__(self, channels: int, values: int, *, norm_eps: float) -> None:
        super().__init__()
        self.norm_eps = norm_eps
        self.modulation = zeroed(nn.Linear(channels, 2 * channels))
        self.linear = zeroed(nn.Linear(channels, values))

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        shift, scale = self.modulation(emb).chunk(2, dim=1)
        patches: Tensor = self.linear(modulated(h, shift, scale, self.norm_eps))
        return patches
