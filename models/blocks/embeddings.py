"""How a network is told the time and the class."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.layers import linear


def sinusoidal(labels: Tensor, dim: int, *, max_period: float = 10000.0) -> Tensor:
    """Sines, then cosines, of ``labels`` at ``dim // 2`` geometric frequencies from 1 to 1/max_period.

    Ho et al. 2020 (after Vaswani et al. 2017, section 3.5). (B,) -> (B, dim), at least float32: a
    label of 999 in half precision would already be off by a step.

    Raises:
        ValueError: fewer than four dimensions.
    """
    half = dim // 2
    if half < 2:
        raise ValueError(f"a sinusoidal embedding needs at least 4 dimensions, not {dim}; raise channels.")
    dtype = torch.float64 if labels.dtype == torch.float64 else torch.float32
    steps = torch.arange(half, dtype=dtype, device=labels.device)
    phases = labels.to(dtype)[:, None] * torch.exp(steps * (-math.log(max_period) / (half - 1)))
    features = torch.cat([phases.sin(), phases.cos()], dim=1)
    return F.pad(features, (0, dim % 2))


def level_at(sigmas: Tensor, labels: Tensor) -> Tensor:
    """``sigmas[label]``, and between two labels the level on the straight line between their logarithms. (B,)"""
    below = labels.detach().long()
    above = (below + 1).clamp(max=len(sigmas) - 1)
    return sigmas[below] * (sigmas[above] / sigmas[below]) ** (labels - below).to(sigmas.dtype)


class GaussianFourier(nn.Module):
    """Sines and cosines at fixed random frequencies: (B,) -> (B, 2 size).

    ``[sin(2 pi W u), cos(2 pi W u)]`` with W ~ N(0, scale^2), drawn once and never trained, yet part of
    the weights (Tancik et al. 2020, eq. 5).
    """

    def __init__(self, size: int, *, scale: float = 16.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size) * scale, requires_grad=False)

    def forward(self, u: Tensor) -> Tensor:
        phases = u[:, None] * self.weight[None, :] * 2 * math.pi
        return torch.cat([phases.sin(), phases.cos()], dim=-1)


class TimeEmbedding(nn.Module):
    """Two dense layers from time features (B, in) to the embedding (B, out) that the blocks are told."""

    def __init__(self, in_features: int, out_features: int, *, act: nn.Module) -> None:
        super().__init__()
        self.dense_in = linear(in_features, out_features)
        self.act = act
        self.dense_out = linear(out_features, out_features)

    def forward(self, features: Tensor) -> Tensor:
        return self.dense_out(self.act(self.dense_in(features.to(self.dense_in.weight.dtype))))


class ClassEmbedding(nn.Module):
    """One learned vector per class, added to the time embedding (Nichol & Dhariwal 2021, section 4).

    The values of ``y`` are not looked at in ``forward``, which would wait for the device at every
    step: whoever starts a run calls ``check`` once.
    """

    def __init__(self, num_classes: int, out_features: int) -> None:
        super().__init__()
        self.table = nn.Embedding(num_classes, out_features)

    def forward(self, y: Tensor | None) -> Tensor:
        if y is None:
            raise ValueError(
                f"this network is class-conditional ({self.table.num_embeddings} classes) and got no labels; "
                "pass y=."
            )
        return self.table(y)

    def check(self, y: Tensor) -> None:
        """Refuse labels that are not classes (waits for the device: call it before a run, not in it).

        Raises:
            ValueError: naming the range given and the range allowed.
        """
        low, high = int(y.min()), int(y.max())
        if y.is_floating_point() or low < 0 or high >= self.table.num_embeddings:
            raise ValueError(
                f"class labels of type {y.dtype} from {low} to {high}; "
                f"allowed are integers from 0 to {self.table.num_embeddings - 1}."
            )
