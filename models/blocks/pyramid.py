"""The image pyramids of NCSN++: how the levels take from them and add to them."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from models.blocks.convolution import conv
from models.blocks.normalization import ncsnpp_norm


@final
class Combine(nn.Module):
    """Bring the input pyramid into the features: a 1x1 convolution, then their sum or both (Song et al. 2021,
    appendix H)."""

    def __init__(self, rank: int, pyramid_channels: int, channels: int, *, method: str) -> None:
        super().__init__()
        self.conv = conv(rank, pyramid_channels, channels, kernel=1, init_scale=1.0)
        self.cat = method == "cat"

    def forward(self, pyramid: Tensor, h: Tensor) -> Tensor:
        pyramid = self.conv(pyramid)
        return torch.cat([pyramid, h], dim=1) if self.cat else pyramid + h


@final
class Readout(nn.Module):
    """Normalise, activate, convolve: from features to an image, or to the start of a pyramid."""

    def __init__(
        self, rank: int, channels: int, out_channels: int, *, act: nn.Module, init_scale: float
    ) -> None:
        super().__init__()
        self.norm = ncsnpp_norm(channels)
        self.act = act
        self.conv = conv(rank, channels, out_channels, init_scale=init_scale)

    def forward(self, h: Tensor) -> Tensor:
        image: Tensor = self.conv(self.act(self.norm(h)))
        return image
