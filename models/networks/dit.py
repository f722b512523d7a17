"""DiT, the diffusion transformer on patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, final

import torch.nn.functional as F
from torch import Tensor, nn

from models.base import Network, register_model
from models.blocks.block import ModuleList
from models.blocks.conditioning import refuse_unknown
from models.blocks.convolution import conv, linear
from models.blocks.embeddings import ClassEmbedding, TimeEmbedding, plus_class, sinusoidal
from models.blocks.initialisation import variance_scaling_
from models.blocks.positions import sincos_positions
from models.blocks.ranges import Blocks, Channels, Heads
from models.blocks.sizes import check_divisible, spatial_rank
from models.blocks.transformer import TransformerBlock, Unpatch
from sde_lib.ranges import Range

_FEATURES = 256
"""Of the time."""

Patch = Annotated[int, Range(least=1, most=2**10)]
Expansion = Annotated[int, Range(least=1, most=2**6)]
Eps = Annotated[float, Range(above=0)]


@final
@register_model(name="dit")
class DiT(Network):
    """The transformer of adaLN-zero blocks (Peebles & Xie 2023), which SiT trains as a flow (Ma et al. 2024).

    Patches are tokens; their places are told by fixed sines and cosines, time and class by the modulated
    normalisations of every block. Labels may be fractions.

    Args:
        in_channels: channels of the state.
        out_channels: channels of the output, twice ``in_channels`` for learned variances; None for as many as come in.
        image_size: one number for a square image, or one for each of 1, 2 or 3 spatial axes. Places are known for this
            size; others run too, see ``check_shape``.
        patch_size: of a token, along each axis.
        channels: of a token: 384 for S, 768 B, 1024 L, 1152 XL.
        depth: number of blocks: 12 for S and B, 24 L, 28 XL.
        num_heads: heads of each attention: 6 for S, 12 B, 16 L and XL.
        expansion: hidden width of the perceptrons, in multiples of ``channels``.
        norm_eps: of the normalisations before attention and output.
        mlp_norm_eps: of those before the perceptrons.
        time_endpoint: whether the lowest frequency of the time is 1 / 10000 exactly, see ``sinusoidal``; diffusers' DiT
            has it so.
        use_checkpoint: gradient checkpointing, which stores only the blocks' inputs for the backward pass and
            computes the rest again.
        num_classes: number of class labels that an embedding is learned for, keyword ``y`` of ``forward``;
            None for an unconditional network.

    Raises:
        ValueError: a size that is none or no multiple of the patch, channels that do not divide into heads.
    """

    positions: Tensor

    keeps_nothing = True

    def __init__(
        self,
        *,
        in_channels: int = 4,
        out_channels: int | None = None,
        image_size: int | Sequence[int] = 32,
        patch_size: Patch = 2,
        channels: Channels = 384,
        depth: Blocks = 12,
        num_heads: Heads = 6,
        expansion: Expansion = 4,
        norm_eps: Eps = 1e-6,
        mlp_norm_eps: Eps = 1e-6,
        time_endpoint: bool = False,
        use_checkpoint: bool = False,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.channels, self.patch_size = in_channels, channels, patch_size
        self.out_channels = in_channels if out_channels is None else out_channels
        self.rank = rank = spatial_rank(image_size)
        self.norm_eps, self.mlp_norm_eps, self.time_endpoint = norm_eps, mlp_norm_eps, time_endpoint
        size = (image_size,) * rank if isinstance(image_size, int) else tuple(image_size)
        self.check_shape((in_channels, *size))
        self.grid = tuple(side // patch_size for side in size)
        self.register_buffer("positions", sincos_positions(self.grid, channels), persistent=False)

        self.patches = conv(
            rank, in_channels, channels, kernel=patch_size, stride=patch_size, padding=0, init_scale=1.0
        )
        variance_scaling_(self.patches.weight.detach().flatten(1))  # as the dense layer that it is
        dense_in = linear(_FEATURES, channels, init_scale=1.0)
        dense_out = linear(channels, channels, init_scale=1.0)
        for layer in (dense_in, dense_out):
            nn.init.normal_(layer.weight, std=0.02)
        self.time_embedding = TimeEmbedding(dense_in=dense_in, act=nn.SiLU(), dense_out=dense_out)
        self.class_embedding = None
        if num_classes is not None:
            self.class_embedding = ClassEmbedding(num_classes, channels)
            nn.init.normal_(self.class_embedding.table.weight, std=0.02)
        self.blocks: ModuleList[TransformerBlock] = ModuleList(
            TransformerBlock(
                channels,
                heads=num_heads,
                expansion=expansion,
                norm_eps=norm_eps,
                mlp_norm_eps=mlp_norm_eps,
                checkpointed=use_checkpoint,
            )
            for _ in range(depth)
        )
        self.readout = Unpatch(channels, self.out_channels * patch_size**rank, norm_eps=norm_eps)

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse a sample shape (C, ...) whose channels, axes or sizes do not fit (see ``Network``)."""
        check_divisible(
            shape,
            channels=self.in_channels,
            rank=self.rank,
            factor=self.patch_size,
            why="the side of a patch",
            remedy="take another patch_size",
        )

    def forward(self, x: Tensor, labels: Tensor, *, y: Tensor | None = None, **cond: Any) -> Tensor:
        refuse_unknown(cond, "y")
        features = sinusoidal(labels, _FEATURES, cosines_first=True, endpoint=self.time_endpoint)
        emb = plus_class(self.time_embedding(features), self.class_embedding, y)
        assert emb is not None
        emb = F.silu(emb)  # which every block begins with, once
        h = self.patches(x)
        grid = tuple(h.shape[2:])
        places = self.positions if grid == self.grid else sincos_positions(grid, self.channels, x.device)
        h = h.flatten(2).transpose(1, 2) + places.to(h.dtype)
        for block in self.blocks:
            h = block(h, emb)
        return self._image(self.readout(h, emb), grid)

    def _image(self, patches: Tensor, grid: tuple[int, ...]) -> Tensor:
        """(B, N, values of a patch, channels last) -> (B, C, ...)."""
        rank, p = self.rank, self.patch_size
        split = patches.reshape(len(patches), *grid, *(p,) * rank, self.out_channels)
        axes = [
            axis
            for pair in zip(range(1, rank + 1), range(rank + 1, 2 * rank + 1), strict=True)
            for axis in pair
        ]
        return split.permute(0, 2 * rank + 1, *axes).reshape(len(patches), -1, *(p * side for side in grid))
