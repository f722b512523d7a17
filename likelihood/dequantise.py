"""Dequantisation: discrete data made continuous, so that a density bounds their probability."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from sde_lib.noise import Noise
from sde_lib.settings import Range, check_settings


@dataclass(frozen=True)
class Dequantised:
    """Values in the model's range, (B, ...), and the log-density of where in their bins they lie, (B,).

    ``log_q`` is in nats with the bin's width as unit, hence zero for uniform noise, and

        log P(levels) >= E[log p(x) - log_q] + D log(range / levels),

    so ``bits_per_dim(logp - log_q, ...)`` bounds the cost from above (Ho et al. 2019, eq. 10).
    """

    x: Tensor
    log_q: Tensor


class Dequantisation(abc.ABC):
    """A distribution of the continuous value within the bin of each level."""

    levels: int
    low: float
    high: float

    def __post_init__(self) -> None:
        check_settings(self)

    @abc.abstractmethod
    def __call__(self, level: Tensor, noise: Noise) -> Dequantised:
        """``level``: integers 0 to levels - 1, (B, ...)."""

    def place(self, level: Tensor, u: Tensor) -> Tensor:
        """low + (level + u) (high - low) / levels, for u in [0, 1)."""
        if level.is_floating_point() and not bool((level == level.round()).all()):
            raise ValueError(
                "dequantisation is of levels 0, 1, ..., and these values are continuous: report nats."
            )
        if int(level.min()) < 0 or int(level.max()) >= self.levels:
            raise ValueError(
                f"levels must lie in 0..{self.levels - 1}, got {int(level.min())} to {int(level.max())}; "
                "set data.levels to the number of distinct values."
            )
        return self.low + (level + u) * ((self.high - self.low) / self.levels)


@dataclass(frozen=True)
class UniformDequantisation(Dequantisation):
    """Uniform within each bin (Theis et al. 2016, section 3.1).

    Args:
        levels: number of distinct values of the data.
        low, high: range of the continuous data.
    """

    levels: Annotated[int, Range(least=1)] = 256
    low: float = -1.0
    high: float = 1.0

    def __call__(self, level: Tensor, noise: Noise) -> Dequantised:
        u = noise.uniform(level.shape)
        return Dequantised(
            self.place(level, u), torch.zeros(len(level), dtype=torch.float64, device=level.device)
        )


def importance_weighted(log_weights: Tensor) -> Tensor:
    """log mean exp over the first axis: (K, B) -> (B,).

    Of K draws' ``logp - log_q`` it bounds the log-probability more tightly than their mean (Burda et al.
    2016, eq. 8), provided that each logp is exact: an unbiased estimate of it by probes makes the mean of
    the exponential too large, so use ``ExactTrace``.
    """
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))
