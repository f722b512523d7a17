"""A Brownian path that can be evaluated at any time, in any order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sde_lib.fused import fused
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
        self._end = self._noise.normal((shape[0], math.prod(shape[1:])))
        intervals = [2.0**level for level in range(DEPTH + 1)]
        self._intervals = torch.tensor(intervals, dtype=torch.float64, device=noise.device)[:, None]
        # Of the middle of an interval, given its ends: the root of a quarter of its length.
        spread = [math.sqrt(0.25 / count) for count in intervals[:-1]]
        self._spread = torch.tensor(spread, dtype=torch.float64, device=noise.device)

    def __call__(self, u: Tensor) -> Tensor:
        """W(u), (B, ...), at a time u in [0, 1] of each sample, (B,)."""
        # At each level the interval that holds u, counted from the left; the nodes of a level follow those above.
        at = u.double() * self._intervals
        interval = at.floor().minimum(self._intervals - 1)
        nodes = (self._intervals + interval)[:-1].long()
        right = interval[1:] > 2 * interval[:-1]
        ends = torch.stack([torch.zeros_like(self._end), self._end])
        moves = torch.stack([right, ~right], dim=1)
        for streams, spread, moved in zip(self._noise.at(nodes), self._spread, moves, strict=True):
            ends = _halved(ends, streams.normal(self._end.shape), spread, moved)
        rest = (at - interval)[-1].to(ends.dtype)
        return torch.lerp(ends[0], ends[1], rest[:, None]).reshape(self._shape)


@fused
def _halved(ends: Tensor, fresh: Tensor, spread: Tensor, moved: Tensor) -> Tensor:
    """The path at the ends, (2, B, D), of the half of the interval of which the end ``moved`` (2, B) is its middle."""
    middle = (ends[0] + ends[1]) / 2 + fresh * spread
    return torch.where(moved[:, :, None], middle, ends)
