"""How layers start: DDPM's scaled uniform weights, and zeros."""

from __future__ import annotations

import math
from typing import TypeVar

from torch import Tensor, nn

L = TypeVar("L", bound=nn.Module)


def variance_scaling_(weight: Tensor, scale: float = 1.0) -> Tensor:
    """Fill ``weight`` (out, in, ...) uniformly with variance ``scale / ((fan_in + fan_out) / 2)``.

    This is DDPM's initialisation (Ho et al. 2020, their code). A scale of 0 means 1e-10: the layer's output
    starts at zero to working precision, yet its input still gets a gradient.
    """
    field = weight[0, 0].numel()
    fan_avg = field * (weight.shape[0] + weight.shape[1]) / 2
    bound = math.sqrt(3 * (scale or 1e-10) / fan_avg)
    return nn.init.uniform_(weight, -bound, bound)


def zeroed(layer: L) -> L:
    """The layer with all parameters at zero: a residual branch that ends with it starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
