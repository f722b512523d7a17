"""A multi-layer perceptron with residual blocks, for vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch.nn.functional as F
from torch import Tensor, nn

from models.base import Network, register_model
from models.blocks.conditioning import refuse_unknown
from models.blocks.convolution import linear
from models.blocks.embeddings import ClassEmbedding, TimeEmbedding, check_classes, plus_class, sinusoidal
from models.blocks.ranges import Blocks, Channels


@final
class DenseBlock(nn.Module):
    """h + W2 silu(W1 silu(norm(h)) + E emb), with W2 at zero at first; the embedding comes activated.

    Args:
        width: features of h.
        emb_features: of the embedding of time and class.
    """

    def __init__(self, width: int, emb_features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.dense_in = linear(width, width, init_scale=1.0)
        self.embedding = linear(emb_features, width, init_scale=1.0)
        self.dense_out = linear(width, width, init_scale=0.0)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        inner = self.dense_in(F.silu(self.norm(h))) + self.embedding(emb)
        out: Tensor = h + self.dense_out(F.silu(inner))
        return out


@final
@register_model(name="mlp")
class MLP(Network):
    """A residual multi-layer perceptron of vectors (B, D), told the time by addition in every block.

    Args:
        in_channels: numbers in a vector, with everything concatenated to it.
        out_channels: numbers in the output, twice ``in_channels`` for learned variances; None for as many as come in.
        channels: features of each hidden layer; the time embedding has four times as many.
        num_res_blocks: residual blocks of two layers each.
        num_classes: number of class labels that an embedding is learned for, keyword ``y`` of ``forward``; None for an
            unconditional network.
    """

    keeps_nothing = True

    def __init__(
        self,
        *,
        in_channels: int = 2,
        out_channels: int | None = None,
        channels: Channels = 128,
        num_res_blocks: Blocks = 4,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.channels = in_channels, channels
        emb = 4 * channels
        self.time_embedding = TimeEmbedding(
            dense_in=linear(channels, emb, init_scale=1.0),
            act=nn.SiLU(),
            dense_out=linear(emb, emb, init_scale=1.0),
        )
        self.class_embedding = None if num_classes is None else ClassEmbedding(num_classes, emb)
        self.dense_in = linear(in_channels, channels, init_scale=1.0)
        self.blocks = nn.ModuleList(DenseBlock(channels, emb) for _ in range(num_res_blocks))
        self.output_norm = nn.LayerNorm(channels)
        self.dense_out = linear(
            channels, in_channels if out_channels is None else out_channels, init_scale=0.0
        )

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse samples that are no vectors of ``in_channels`` numbers."""
        if tuple(shape) != (self.in_channels,):
            raise ValueError(
                f"mlp takes vectors of {self.in_channels} numbers and samples have the shape {tuple(shape)}: set "
                f"data.shape=(D,), or take a network of images or signals, such as ddpm."
            )

    def check_classes(self, y: Tensor) -> None:
        """Refuse class labels out of range; call it before a run, it waits for the device."""
        check_classes(self.class_embedding, y)

    def forward(self, x: Tensor, labels: Tensor, *, y: Tensor | None = None, **cond: Any) -> Tensor:
        """Evaluate the network (see ``Network``)."""
        refuse_unknown(cond, "y")
        emb = plus_class(self.time_embedding(sinusoidal(labels, self.channels)), self.class_embedding, y)
        assert emb is not None
        emb = F.silu(emb)  # which every block begins with, once
        h = self.dense_in(x)
        for block in self.blocks:
            h = block(h, emb)
        out: Tensor = self.dense_out(F.silu(self.output_norm(h)))
        return out
