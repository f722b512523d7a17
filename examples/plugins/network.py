"""A network: a perceptron with one hidden layer that is told the time."""

import math
from typing import Annotated

import torch
from torch import nn

from models import Network, register_model
from sde_lib import Range


@register_model
class Perceptron(Network):
    """W2 silu(W1 [x, t] + b1) + b2 of the flattened state.

    Args:
        hidden: number of hidden units.
    """

    time_label = "time"

    def __init__(
        self, in_channels: int, image_size: tuple[int, ...], hidden: Annotated[int, Range(least=1)] = 128
    ):
        super().__init__()
        size = in_channels * math.prod(image_size)
        self.layers = nn.Sequential(nn.Linear(size + 1, hidden), nn.SiLU(), nn.Linear(hidden, size))

    def forward(self, x, labels, **cond):
        told = torch.cat([x.flatten(1), labels[:, None].to(x.dtype)], 1)
        return self.layers(told).reshape(x.shape)
