"""How fast a Gaussian marginal changes, by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sde_lib.base import Marginal


@dataclass(frozen=True)
class Rates:
    """Of dx = growth x dt + diffusion dw; both shaped like the time."""

    growth: Tensor
    diffusion: Tensor


@dataclass(frozen=True)
class PathRates:
    """The derivatives of alpha and sigma in time; both shaped like the time."""

    alpha: Tensor
    sigma: Tensor


def rates_of(marginal: Callable[[Tensor], Marginal], t: Tensor) -> Rates:
    """(log alpha)' and g, g^2 = (sigma^2)' - 2 (log alpha)' sigma^2."""

    def log_alpha_and_variance(t: Tensor) -> Tensor:
        m = marginal(t)
        return torch.stack([m.alpha.log(), m.sigma**2])

    (_, variance), (log_alpha_rate, variance_rate) = _differentiated(log_alpha_and_variance, t)
    g2 = variance_rate - 2 * log_alpha_rate * variance
    return Rates(log_alpha_rate, g2.clamp(min=0).sqrt())


def path_rates_of(marginal: Callable[[Tensor], Marginal], t: Tensor) -> PathRates:
    """alpha' and sigma'."""

    def alpha_and_sigma(t: Tensor) -> Tensor:
        m = marginal(t)
        return torch.stack([m.alpha, m.sigma])

    return PathRates(*_differentiated(alpha_and_sigma, t)[1])


def _differentiated(f: Callable[[Tensor], Tensor], t: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """A pair of functions of the time, stacked, and the derivative of each."""
    # Pullbacks, not a jvp: torch's forward mode compiles decompositions, with a warning, at first use.
    values, pullback = torch.func.vjp(f, t.double())[:2]
    one, zero = torch.ones_like(values[0]), torch.zeros_like(values[0])
    (first,) = pullback(torch.stack([one, zero]))
    (second,) = pullback(torch.stack([zero, one]))
    return values, (first, second)
