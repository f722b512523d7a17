"""Self-attention over the positions of a feature map."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.layers import group_norm, linear


class Attention(nn.Module):
    """Single-head self-attention with a shortcut: ``x + out(softmax(q k^T / sqrt(C)) v)``.

    Ho et al. 2020 (the ancestor's ``AttnBlock``; with ``skip_rescale`` and other groups its
    ``AttnBlockpp``, which divides the sum by sqrt 2). Any spatial rank.
    """

    def __init__(
        self, channels: int, *, groups: int, init_scale: float = 0.0, skip_rescale: bool = False
    ) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups=groups)
        # The ancestor's inner projections start small.
        self.query = linear(channels, channels, init_scale=0.1)
        self.key = linear(channels, channels, init_scale=0.1)
        self.value = linear(channels, channels, init_scale=0.1)
        self.out = linear(channels, channels, init_scale=init_scale)
        self.gain = math.sqrt(0.5) if skip_rescale else 1.0

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = (layer(tokens).unsqueeze(1) for layer in (self.query, self.key, self.value))
        h = self.out(F.scaled_dot_product_attention(q, k, v).squeeze(1))
        h = h.transpose(1, 2).reshape(x.shape)
        return x + h if self.gain == 1.0 else (x + h) * self.gain
