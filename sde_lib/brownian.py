"""A Brownian path that can be asked for any time, in any order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sde_lib.base import expand
from sde_lib.noise import Noise

DEPTH = 24
"""Halvings of the interval; below 2^-24 of it the path is straight."""


class BrownianPath:
    """W on [0, 1] with W(0) = 0, one for each sample: a function of the streams and of the time alone.

    Found by halving the interval, where W at the middle is the mean of the ends and independent noise of
    variance a quarter of the length (Lévy's construction; Gaines & Lyons 1997, as a tree). So a step that is
    taken back leaves nothing of itself, and one taken in two halves adds up to the whole.

    Args:
        noise: the samples' streams; they spend one draw.
        shape: of a state, (B, ...).
    """

    def __init__(self, noise: Noise, shape: Sequence[int]) -> None:
        self._noise, self._shape = noise.branch(), tuple(shape)
        self._end = self._noise.normal(shape)

    def __call__(self, u: Tensor) -> Tensor:
        """W at times u in [0, 1], (B,): (B, ...)."""
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
