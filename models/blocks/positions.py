"""Positions of patches in an image, or in a signal or volume, as sines and cosines."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def sincos_positions(grid: Sequence[int], dim: int, device: torch.device | None = None) -> Tensor:
    """``[sin(w_i p), cos(w_i p)]`` of each coordinate p of each place of a grid (He et al. 2022; Peebles & Xie 2023).

    The features are divided evenly among the axes, the last axis first; of an axis with d of them,
    w_i = 10000^(-i / (d / 2)) for i < d / 2. Places are in the order of memory.

    Args:
        grid: places along each axis.
        dim: features in all.
        device: of the result.

    Returns:
        (N, dim), float32.

    Raises:
        ValueError: the features do not divide.
    """
    rank = len(grid)
    if dim % (2 * rank):
        raise ValueError(
            f"{dim} features of positions do not divide into sines and cosines of {rank} axes; take a multiple of "
            f"{2 * rank} for channels."
        )
    each = dim // rank
    index = torch.arange(each // 2, dtype=torch.float64, device=device)
    rates = 10000.0 ** (-index / (each / 2))
    axes = [torch.arange(size, dtype=torch.float64, device=device) for size in grid]
    features = []
    for places in reversed(torch.meshgrid(*axes, indexing="ij")):
        phases = places.reshape(-1, 1) * rates
        features += [phases.sin(), phases.cos()]
    return torch.cat(features, dim=1).float()
