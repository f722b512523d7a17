"""A Brownian path that can be evaluated at any time, in any order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sde_lib.base import expand
from sde_lib.noise import Noise

DEPTH = 24
"""How often the interval is halved; the path is linear between multiples of 2^-24."""


class BrownianPath:
    """A Brownian path W on [0, 1] for each sample, a function of the sample's stream and of the time.

    Found by halving the interval, where W at the middle is the mean of the ends and independent noise of
    variance a quarter of the length (Lévy's construction; Gaines & Lyons 1997, as a tree). A step that is
    rejected therefore leaves no trace, and the increments of two half steps add up to that of the whole.

    Args:
        noise: the samples' streams, of which one draw is used.
        shape: shape of the states, (B, ...).
    """

    def __init__(self, noise: Noise, shape: Sequence[int]) -> None:
        self._noise, self._shape = noise.branch(), tuple(shape)
        self._end = self._noise.normal(shape)

    def __call__(self, u: Tensor) -> Tensor:
        """W(u), (B, ...), at a time u in [0, 1] of each sample, (B,)."""
        low, high = torch.zeros_like(self._end), self._end
        node, rest = torch.ones(len(u), dtype=torch.int64, device=u.device), u.double()
        for level in range(1, DEPTH + 1):
            fresh = self._noise.at(node).normal(self._shape)
            middle = (low + high) / 2 + fresh * math.sqrt(2.0 ** -(level + 1))
            right = rest >= 0.5
            inside = expand(right, low) > 0
            low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
            node, rest = 2 * node + right, 2 * rest - right.double()
        return torch.lerp(low, high, expand(rest, low).to(low.dtype))
